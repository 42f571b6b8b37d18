"""Zoe: checks a loan application and completes it with totals. What the fields mean: README.md."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from spine_agent import BadDataError, Json, main

CENT = Decimal("0.01")
LARGEST = Decimal("1e12")
PER_MONTH = {"month": Decimal(1), "year": 1 / Decimal(12), "week": Decimal(52) / 12, "fortnight": Decimal(26) / 12}
LONGEST_TERM = 600
SECURED = "valuation"


def collect(given: Json, config: Json) -> Json:
    """Normalise the amounts, sum up incomes and debts, and name the documents that are missing."""
    loan, applicant = _object(given, "loan"), _object(given, "applicant")
    payments = _object(applicant, "payments", default={})
    incomes, debts = _objects(given, "incomes"), _objects(given, "debts", default=[])
    collateral = _money(loan.get("collateral_value") or 0, "loan.collateral_value")
    required = [*config.get("required_documents", []), *([SECURED] if collateral else [])]
    monthly_income = sum((_monthly(one, index) for index, one in enumerate(incomes)), Decimal(0))
    if monthly_income <= 0:
        raise BadDataError("incomes must hold at least one amount above 0.")
    profile = {
        "applicant": str(applicant.get("name", "unknown")),
        "loan_amount": _positive(loan.get("amount"), "loan.amount"),
        "currency": str(loan.get("currency", "EUR")),
        "annual_rate_percent": _number(loan.get("annual_rate_percent"), "loan.annual_rate_percent", at_most=100),
        "term_months": _whole(loan.get("term_months"), "loan.term_months", at_least=1, at_most=LONGEST_TERM),
        "collateral_value": collateral,
        "monthly_income": _cents(monthly_income),
        "monthly_debt_payments": _total(debts, "monthly_payment"),
        "total_debt": _total(debts, "balance"),
        "months_employed": _whole(applicant.get("months_employed", 0), "applicant.months_employed"),
        "payments_on_time": _whole(payments.get("on_time", 0), "applicant.payments.on_time"),
        "payments_late_30_days": _whole(payments.get("late_30_days", 0), "applicant.payments.late_30_days"),
        "payments_late_90_days": _whole(payments.get("late_90_days", 0), "applicant.payments.late_90_days"),
        "missing_documents": _missing(given.get("documents"), required),
    }
    return {"profile": {name: float(v) if isinstance(v, Decimal) else v for name, v in profile.items()}}


def _object(given: Json, field: str, default: Any = None) -> Json:
    value = given.get(field, default)
    if not isinstance(value, dict):
        raise BadDataError(f"{field} must be an object.")
    return value


def _objects(given: Json, field: str, default: Any = None) -> list[Json]:
    value = given.get(field, default)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadDataError(f"{field} must be a list of objects.")
    return value


def _money(value: Any, field: str) -> Decimal:
    """An amount: a number, or text with spaces, commas between thousands and a point before cents."""
    text = re.sub(r"[\s,]", "", value) if isinstance(value, str) else str(value)
    try:
        amount = Decimal(text)
        fits = not isinstance(value, bool) and 0 <= amount <= LARGEST
    except InvalidOperation:
        fits = False
    if not fits:
        raise BadDataError(f"{field} must be an amount such as 1250.50, not {str(value)[:40]!r}.")
    return _cents(amount)


def _positive(value: Any, field: str) -> Decimal:
    amount = _money(value, field)
    if not amount:
        raise BadDataError(f"{field} must be above 0.")
    return amount


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _monthly(income: Json, index: int) -> Decimal:
    per = income.get("per", "month")
    if not isinstance(per, str) or per not in PER_MONTH:
        raise BadDataError(f"incomes[{index}].per must be one of {', '.join(PER_MONTH)}.")
    return _money(income.get("amount"), f"incomes[{index}].amount") * PER_MONTH[per]


def _total(debts: list[Json], field: str) -> Decimal:
    return sum((_money(debt.get(field, 0), f"debts[{i}].{field}") for i, debt in enumerate(debts)), Decimal(0))


def _number(value: Any, field: str, at_most: int) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= at_most:
        raise BadDataError(f"{field} must be a number from 0 to {at_most}.")
    return float(value)


def _whole(value: Any, field: str, at_least: int = 0, at_most: int = 1_000_000) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
        raise BadDataError(f"{field} must be a whole number from {at_least} to {at_most}.")
    return value


def _missing(documents: Any, required: list[str]) -> list[str]:
    there = {str(one).strip().lower().replace(" ", "_") for one in documents} if isinstance(documents, list) else set()
    return [one for one in required if one not in there]


if __name__ == "__main__":
    main("zoe", collect)
