// Where the nodes of a graph go: layers by longest path, crossings few by barycentres, then straight lines where
// there is room. Sugiyama's method with small means: a thousand nodes take some tens of milliseconds.

const SWEEPS = 6;
const MOST_BENDS = 4000;

/** Lay a graph out.
 *
 * @param {{id: string}[]} nodes
 * @param {{from: string, to: string}[]} edges  without cycles; what closes one is drawn, but does not count
 * @param {object} size  {across, along, gapAcross, gapAlong, down}: how large a node is; down: layers go downwards
 * @returns {{places: Map, lines: {from, to, points}[], width, height}}
 */
export function layout(nodes, edges, size) {
  const known = new Set(nodes.map(({ id }) => id));
  const real = edges.filter(({ from, to }) => known.has(from) && known.has(to) && from !== to);
  const layerOf = layers(nodes, real);
  const { rows, chains, up, down } = bend(nodes, real, layerOf);
  untangle(rows, up, down);
  const across = spread(rows, up, down, size);
  return place(nodes, chains, layerOf, across, size);
}

function layers(nodes, edges) {
  const next = new Map(nodes.map(({ id }) => [id, []]));
  const waits = new Map(nodes.map(({ id }) => [id, 0]));
  for (const { from, to } of edges) {
    next.get(from).push(to);
    waits.set(to, waits.get(to) + 1);
  }
  const layerOf = new Map();
  const ready = nodes.map(({ id }) => id).filter((id) => !waits.get(id));
  for (const id of ready) layerOf.set(id, 0);
  for (let index = 0; index < ready.length; index += 1) {
    const id = ready[index];
    for (const to of next.get(id)) {
      layerOf.set(to, Math.max(layerOf.get(to) ?? 0, layerOf.get(id) + 1));
      waits.set(to, waits.get(to) - 1);
      if (!waits.get(to)) ready.push(to);
    }
  }
  for (const { id } of nodes) if (!layerOf.has(id) || waits.get(id) > 0) layerOf.set(id, layerOf.get(id) ?? 0);
  return layerOf;
}

// Edges over several layers get a bend in each: points that take part in the ordering like nodes.
function bend(nodes, edges, layerOf) {
  const rows = [];
  const add = (layer, id) => (rows[layer] ??= []).push(id);
  for (const { id } of nodes) add(layerOf.get(id), id);
  const up = new Map();
  const down = new Map();
  const join = (from, to) => {
    (down.get(from) ?? down.set(from, []).get(from)).push(to);
    (up.get(to) ?? up.set(to, []).get(to)).push(from);
  };
  let bends = 0;
  const chains = edges.map(({ from, to }) => {
    const chain = [from];
    const last = layerOf.get(to);
    for (let layer = layerOf.get(from) + 1; layer < last && bends < MOST_BENDS; layer += 1) {
      const id = `\0${(bends += 1)}`;
      add(layer, id);
      chain.push(id);
    }
    chain.push(to);
    for (let index = 1; index < chain.length; index += 1) join(chain[index - 1], chain[index]);
    return { from, to, chain };
  });
  for (let layer = 0; layer < rows.length; layer += 1) rows[layer] ??= [];
  return { rows, chains, up, down };
}

function untangle(rows, up, down) {
  const at = new Map();
  const number = (row) => row.forEach((id, index) => at.set(id, index));
  rows.forEach(number);
  const sortBy = (row, near) => {
    const weight = new Map(row.map((id) => {
      const ids = near.get(id);
      return [id, ids?.length ? ids.reduce((sum, one) => sum + at.get(one), 0) / ids.length : at.get(id)];
    }));
    row.sort((one, other) => weight.get(one) - weight.get(other) || at.get(one) - at.get(other));
    number(row);
  };
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    if (sweep % 2) for (let index = rows.length - 2; index >= 0; index -= 1) sortBy(rows[index], down);
    else for (let index = 1; index < rows.length; index += 1) sortBy(rows[index], up);
  }
}

// Each row keeps its order; everybody moves towards the middle of its neighbours as far as the row allows.
function spread(rows, up, down, { across, gapAcross }) {
  const at = new Map();
  const room = (one, other) => {
    const bent = (one[0] === "\0") + (other[0] === "\0");
    return (across + gapAcross) * (bent === 2 ? 0.3 : bent === 1 ? 0.62 : 1);
  };
  for (const row of rows) {
    let place = 0;
    row.forEach((id, index) => {
      if (index) place += room(row[index - 1], id);
      at.set(id, place);
    });
    const half = place / 2;
    for (const id of row) at.set(id, at.get(id) - half);
  }
  const settle = (row, near) => {
    const wanted = row.map((id) => {
      const ids = near.get(id);
      return ids?.length ? ids.reduce((sum, one) => sum + at.get(one), 0) / ids.length : at.get(id);
    });
    // Blocks that touch move as one, to the mean of what their members want.
    const blocks = [];
    row.forEach((id, index) => {
      let block = { start: index, sum: wanted[index], offsets: [0], width: 0 };
      for (;;) {
        const before = blocks.at(-1);
        if (!before) break;
        const gap = room(row[block.start - 1], row[block.start]);
        if (before.place + before.width + gap <= middle(block)) break;
        const shift = before.width + gap;
        before.sum += block.sum - shift * block.offsets.length;
        before.offsets.push(...block.offsets.map((offset) => offset + shift));
        before.width = shift + block.width;
        block = before;
        blocks.pop();
      }
      block.place = middle(block);
      blocks.push(block);
    });
    for (const { start, place, offsets } of blocks) offsets.forEach((offset, index) => at.set(row[start + index], place + offset));
  };
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    if (sweep % 2) for (let index = rows.length - 2; index >= 0; index -= 1) settle(rows[index], down);
    else for (let index = 1; index < rows.length; index += 1) settle(rows[index], up);
  }
  return at;
}

const middle = ({ sum, offsets }) => sum / offsets.length;

function place(nodes, chains, layerOf, acrossOf, { across, along, gapAlong, down }) {
  let least = Infinity;
  let most = -Infinity;
  for (const value of acrossOf.values()) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (!nodes.length) return { places: new Map(), lines: [], width: 0, height: 0 };
  const step = along + gapAlong;
  const point = (a, b) => (down ? { x: a, y: b } : { x: b, y: a });
  const places = new Map(nodes.map(({ id }) => [id, point(acrossOf.get(id) - least, layerOf.get(id) * step)]));
  const lines = chains.map(({ from, to, chain }) => {
    const points = chain.map((id, index) => {
      const first = layerOf.get(from);
      const a = acrossOf.get(id) - least + across / 2;
      if (index === 0) return point(a, first * step + along);
      if (index === chain.length - 1) return point(a, layerOf.get(to) * step);
      return point(a, (first + index) * step + along / 2);
    });
    return { from, to, points };
  });
  const deepest = Math.max(...layerOf.values());
  const size = point(most - least + across, deepest * step + along);
  return { places, lines, width: size.x, height: size.y };
}

/** The path of a line through its points, curved along the layers' direction, as SVG has it. */
export function curve(points, down) {
  let text = `M${round(points[0].x)} ${round(points[0].y)}`;
  for (let index = 1; index < points.length; index += 1) {
    const { x: x0, y: y0 } = points[index - 1];
    const { x, y } = points[index];
    const [mx, my] = [(x0 + x) / 2, (y0 + y) / 2];
    text += down ? `C${round(x0)} ${round(my)} ${round(x)} ${round(my)} ${round(x)} ${round(y)}`
      : `C${round(mx)} ${round(y0)} ${round(mx)} ${round(y)} ${round(x)} ${round(y)}`;
  }
  return text;
}

const round = (value) => Math.round(value * 10) / 10;
