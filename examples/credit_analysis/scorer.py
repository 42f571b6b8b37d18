"""Eddie: scores a completed application and decides. The score, with a worked example: README.md."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from spine_agent import BadDataError, Json, main

CENT = Decimal("0.01")
LOWEST_SCORE = 300
BANDS = ((760, "excellent"), (690, "good"), (620, "fair"), (540, "weak"), (LOWEST_SCORE, "poor"))
POINTS_WITHOUT_HISTORY = 60
POINTS_UNSECURED = 15
LOWERS = "lowers the score"


class Part(NamedTuple):
    """What one feature adds to the score, of how much it could have added, and the feature in words."""

    name: str
    points: int
    most: int
    shown: str


def score(given: Json, config: Json) -> Json:
    """The instalment, the ratios, the score with its parts, and the decision with its reasons."""
    profile = given.get("profile")
    if not isinstance(profile, dict):
        raise BadDataError("profile is missing; the collector makes it.")
    amount, income = _amount(profile, "loan_amount"), _amount(profile, "monthly_income")
    term = _whole(profile, "term_months")
    if not amount or not income or not term:
        raise BadDataError("profile.loan_amount, monthly_income and term_months must be above 0.")
    instalment = annuity(amount, _amount(profile, "annual_rate_percent"), term)
    debt_to_income = (_amount(profile, "monthly_debt_payments") + instalment) / income
    payment_to_income = instalment / income
    collateral = _amount(profile, "collateral_value")
    loan_to_value = amount / collateral if collateral else None
    parts = [
        Part("debt to income", falling(debt_to_income, "0.20", "0.60", 200), 200, _percent(debt_to_income)),
        _history(profile),
        Part("payment to income", falling(payment_to_income, "0.10", "0.40", 80), 80, _percent(payment_to_income)),
        _employment(profile),
        _security(loan_to_value),
    ]
    total = LOWEST_SCORE + sum(part.points for part in parts)
    decision, reasons = decide(total, debt_to_income, profile.get("missing_documents") or [], config)
    return {
        "decision": decision,
        "score": total,
        "band": next(name for least, name in BANDS if total >= least),
        "reasons": reasons + _weakest(parts),
        "monthly_instalment": float(instalment),
        "total_interest": float(instalment * term - amount),
        "debt_to_income": _ratio(debt_to_income),
        "payment_to_income": _ratio(payment_to_income),
        "loan_to_value": None if loan_to_value is None else _ratio(loan_to_value),
        "score_parts": {part.name: {"points": part.points, "of": part.most} for part in parts},
    }


def annuity(amount: Decimal, annual_rate_percent: Decimal, months: int) -> Decimal:
    """The level monthly instalment, to the cent: P * r / (1 - (1 + r) ** -n); without interest P / n."""
    rate = annual_rate_percent / 1200
    instalment = amount * rate / (1 - (1 + rate) ** -months) if rate else amount / months
    return instalment.quantize(CENT, ROUND_HALF_UP)


def falling(value: Decimal, full: str, none: str, most: int) -> int:
    """All points up to ``full``, none from ``none`` on, evenly fewer in between."""
    share = (Decimal(none) - value) / (Decimal(none) - Decimal(full))
    return _points(share, most)


def decide(total: int, debt_to_income: Decimal, missing: list[str], config: Json) -> tuple[str, list[str]]:
    """The decision, and the rules that kept it from being better."""
    approve_from, decline_below = config.get("approve_from", 680), config.get("decline_below", 560)
    highest = Decimal(str(config.get("highest_debt_to_income", 0.43)))
    if total < decline_below:
        return "decline", [f"score {total} is below {decline_below}"]
    reasons = []
    if total < approve_from:
        reasons.append(f"score {total} is below {approve_from}")
    if debt_to_income > highest:
        reasons.append(f"debt to income {_percent(debt_to_income)} is above {_percent(highest)}")
    reasons += [f"document missing: {one}" for one in missing]
    return ("review" if reasons else "approve"), reasons


def _history(profile: Json) -> Part:
    on_time, late, very_late = (
        _whole(profile, f"payments_{kind}") for kind in ("on_time", "late_30_days", "late_90_days")
    )
    payments = on_time + late + very_late
    if not payments:
        return Part("payment history", POINTS_WITHOUT_HISTORY, 150, "no payments known")
    share = 1 - Decimal(5 * (late + 3 * very_late)) / payments
    return Part("payment history", _points(share, 150), 150, f"{late + very_late} of {payments} payments late")


def _employment(profile: Json) -> Part:
    months = _whole(profile, "months_employed")
    return Part("time in employment", _points(Decimal(months) / 60, 70), 70, f"{months} months")


def _security(loan_to_value: Any) -> Part:
    if loan_to_value is None:
        return Part("loan to value", POINTS_UNSECURED, 50, "unsecured")
    return Part("loan to value", falling(loan_to_value, "0.60", "1.10", 50), 50, _percent(loan_to_value))


def _weakest(parts: list[Part]) -> list[str]:
    """The two parts that cost the most points, if they cost any."""
    by_loss = sorted(parts, key=lambda part: part.points - part.most)[:2]
    return [f"{part.name} ({part.shown}) {LOWERS}" for part in by_loss if part.points < part.most]


def _points(share: Decimal, most: int) -> int:
    return int((min(max(share, Decimal(0)), Decimal(1)) * most).quantize(Decimal(1), ROUND_HALF_UP))


def _percent(ratio: Decimal) -> str:
    return f"{(ratio * 100).quantize(Decimal('0.1'), ROUND_HALF_UP)} %"


def _ratio(ratio: Decimal) -> float:
    return float(ratio.quantize(Decimal("0.0001"), ROUND_HALF_UP))


def _amount(profile: Json, field: str) -> Decimal:
    value = profile.get(field)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e12:
        raise BadDataError(f"profile.{field} must be an amount from 0 on.")
    return Decimal(str(value))


def _whole(profile: Json, field: str) -> int:
    value = profile.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000:
        raise BadDataError(f"profile.{field} must be a whole number from 0 on.")
    return value


if __name__ == "__main__":
    main("eddie", score)
