"""Each loss once more, as a loop over rows written from its definition, for the tests."""

import torch
from torch import stack


def cosine(x, y):
    return (x * y).sum() / (x.norm() * y.norm())


def cosine_distance(x, y):
    return 1 - cosine(x, y)


def euclidean(x, y):
    return torch.linalg.vector_norm(x - y)  # the square root of a sum has no gradient at 0


def manhattan(x, y):
    return (x - y).abs().sum()


# The distances of the contrastive losses are those of torch's pairwise_distance, which shifts the
# difference by 1e-6 to be smooth at zero.
def siamese_euclidean(x, y):
    return euclidean(x + 1e-6, y)


def siamese_manhattan(x, y):
    return manhattan(x + 1e-6, y)


def relu(x):
    return torch.clamp(x, min=0)


def nothing(columns):
    """Zero, with a gradient of zero."""
    return (columns[0] * 0).sum()


def mean(values):
    return sum(values) / len(values)


def log_sum_exp(values):
    return stack(values).exp().sum().log()


def info_nce(
    columns,
    scale=20.0,
    directions=("query_to_doc",),
    per_direction=False,
    hardness=None,
    strength=0.0,
    similarity=cosine,
):
    queries, *docs = columns
    b = len(queries)
    losses = []
    for i in range(b):
        parts = {direction: [] for direction in directions}
        for k, column in enumerate(docs):
            for j in range(b):
                score = similarity(queries[i], column[j])
                logit = scale * score
                is_own_negative = j == i and k > 0
                if (hardness in ("in_batch_negatives", "all_negatives") and j != i) or (
                    hardness in ("hard_negatives", "all_negatives") and is_own_negative
                ):
                    logit = logit + strength * score.detach()
                parts["query_to_doc"].append(logit)
                if "doc_to_doc" in parts and j != i:
                    parts["doc_to_doc"].append(scale * similarity(column[j], docs[0][i]))
        for j in range(b):
            if "query_to_query" in parts and j != i:
                parts["query_to_query"].append(scale * similarity(queries[i], queries[j]))
            if "doc_to_query" in parts:
                parts["doc_to_query"].append(scale * similarity(queries[j], docs[0][i]))
        if per_direction:
            normaliser = mean([log_sum_exp(part) for part in parts.values()])
        else:
            normaliser = log_sum_exp([logit for part in parts.values() for logit in part])
        losses.append(normaliser - scale * similarity(queries[i], docs[0][i]))
    return mean(losses)


def triplet(columns, distance=euclidean, margin=5.0):
    rows = zip(*columns, strict=True)
    return mean([relu(distance(a, p) - distance(a, n) + margin) for a, p, n in rows])


def cosine_similarity(columns, labels):
    return mean([(cosine(u, v) - y) ** 2 for u, v, y in zip(*columns, labels, strict=True)])


def contrastive(columns, labels, distance=cosine_distance, margin=0.5, average=True):
    losses = []
    for u, v, y in zip(*columns, labels, strict=True):
        d = distance(u, v)
        losses.append(0.5 * (d**2 if y == 1 else relu(margin - d) ** 2))
    return mean(losses) if average else sum(losses)


def cosent(columns, labels, scale=20.0, similarity=cosine):
    scores = [scale * similarity(u, v) for u, v in zip(*columns, strict=True)]
    b = len(scores)
    pairs = [(i, j) for i in range(b) for j in range(b) if labels[i] > labels[j]]
    return (1 + sum((scores[j] - scores[i]).exp() for i, j in pairs) + nothing(scores)).log()


def complex_angle(x, y):
    x, y = x / x.norm(), y / y.norm()
    half = (len(x) + 1) // 2
    x, y = (torch.cat([z, z.new_zeros(2 * half - len(z))]) for z in (x, y))
    terms = []
    for k in range(half):
        real = x[k] * y[k] + x[half + k] * y[half + k]
        imaginary = x[half + k] * y[k] - x[k] * y[half + k]
        terms.append(real + imaginary)
    return sum(terms).abs()


def angle(columns, labels=None, scale=20.0):
    anchor, *others = columns
    if len(others) == 1:
        return cosent(columns, labels, scale, complex_angle)
    ones = [1.0] * len(anchor) if labels is None else labels.tolist()
    rows = [[], []]
    for place, other in enumerate(others):
        for a, x, y in zip(anchor, other, ones, strict=True):
            rows[0].append((a, x))
            rows[1].append(y if place == 0 else 1 - y)
    pairs = list(zip(*rows[0], strict=True))
    return cosent(pairs, rows[1], scale, complex_angle)


def online_contrastive(columns, labels, distance=cosine_distance, margin=0.5):
    near, far = [], []
    for u, v, y in zip(*columns, labels, strict=True):
        (near if y == 1 else far).append(distance(u, v))
    furthest = max(near) if near else mean(far)
    closest = min(far) if far else mean(near)
    total = nothing(columns) + sum(d**2 for d in near if d > closest)
    return total + sum(relu(margin - d) ** 2 for d in far if d < furthest)


def softmax(columns, labels, weight, bias, representation, difference, product):
    losses = []
    for u, v, y in zip(*columns, labels, strict=True):
        seen = [u, v] if representation else []
        seen += [(u - v).abs()] if difference else []
        seen += [u * v] if product else []
        logits = weight @ torch.cat(seen) + bias
        losses.append(log_sum_exp(list(logits)) - logits[y])
    return mean(losses)


def same_class(labels, a):
    return [p for p in range(len(labels)) if labels[p] == labels[a] and p != a]


def other_class(labels, a):
    return [n for n in range(len(labels)) if labels[n] != labels[a]]


def supervised_contrastive(columns, labels, temperature=0.1, similarity=cosine):
    (rows,) = columns
    losses = []
    for i in range(len(rows)):
        logits = {a: similarity(rows[i], rows[a]) / temperature for a in range(len(rows)) if a != i}
        positives = same_class(labels, i)
        if positives:
            log_chances = [logits[p] - log_sum_exp(list(logits.values())) for p in positives]
            losses.append(-mean(log_chances))
    return nothing(columns) + sum(losses) / max(len(losses), 1)


def batch_all(columns, labels, distance=euclidean, margin=5.0):
    (rows,) = columns
    losses = []
    for a in range(len(rows)):
        for p in same_class(labels, a):
            for n in other_class(labels, a):
                losses.append(
                    relu(distance(rows[a], rows[p]) - distance(rows[a], rows[n]) + margin)
                )
    active = [x for x in losses if x > 0]
    return nothing(columns) + sum(active) / max(len(active), 1)


def hardest(rows, labels, a, distance):
    near = [distance(rows[a], rows[p]) for p in same_class(labels, a)]
    far = [distance(rows[a], rows[n]) for n in other_class(labels, a)]
    return max(near, default=rows.new_zeros(())) - min(far)


def batch_hard(columns, labels, distance=euclidean, margin=5.0):
    (rows,) = columns
    return mean([relu(hardest(rows, labels, a, distance) + margin) for a in range(len(rows))])


def batch_hard_soft(columns, labels, distance=euclidean):
    (rows,) = columns
    return mean([(1 + hardest(rows, labels, a, distance).exp()).log() for a in range(len(rows))])


def batch_semi_hard(columns, labels, distance=euclidean, margin=5.0):
    (rows,) = columns
    losses = []
    for a in range(len(rows)):
        far = [distance(rows[a], rows[n]) for n in other_class(labels, a)]
        for p in same_class(labels, a):
            near = distance(rows[a], rows[p])
            beyond = [d for d in far if d > near]
            losses.append(relu(near - (min(beyond) if beyond else max(far)) + margin))
    return nothing(columns) + sum(losses) / max(len(losses), 1)


def embed_distill(columns, labels, metric):
    losses = []
    for place, column in enumerate(columns):
        for i, u in enumerate(column):
            t = labels[i] if labels.dim() == 2 else labels[i][place]
            distance = {
                "cosine": lambda u=u, t=t: 1 - cosine(u, t),
                "l2": lambda u=u, t=t: euclidean(u, t),
                "mse": lambda u=u, t=t: ((u - t) ** 2).mean(),
            }[metric]
            losses.append(distance())
    return mean(losses)


def margin_mse(columns, labels, similarity=torch.dot):
    query, positive, *negatives = columns
    k = len(negatives)
    losses = []
    for i, q in enumerate(query):
        row = labels[i].reshape(-1)
        wanted = row[0] - row[1:] if len(row) == k + 1 else row
        for n, negative in enumerate(negatives):
            margin = similarity(q, positive[i]) - similarity(q, negative[i])
            losses.append((margin - wanted[n]) ** 2)
    return mean(losses)


def distill_kl(columns, labels, student=1.0, teacher=1.0, similarity=torch.dot):
    query, *candidates = columns
    losses = []
    for i, q in enumerate(query):
        found = [similarity(q, column[i]) / student for column in candidates]
        wanted = [score / teacher for score in labels[i]]
        for f, w in zip(found, wanted, strict=True):
            log_q, log_p = f - log_sum_exp(found), w - log_sum_exp(wanted)
            losses.append(log_p.exp() * (log_p - log_q))
    return student**2 * sum(losses) / len(query)


def gist(
    columns,
    guide,
    temperature=0.01,
    margin=0.0,
    relative=False,
    with_anchors=True,
    with_positives=True,
):
    b = len(columns[0])
    losses = []
    for i in range(b):
        pair = cosine(guide[0][i], guide[1][i])
        threshold = pair - margin * (abs(pair) if relative else 1)
        own = cosine(columns[0][i], columns[1][i]) / temperature
        logits = [own]
        for j in range(b):
            candidates = [(0, i, 1, j)] if j != i else []
            candidates += [(0, i, 0, j)] if with_anchors else []
            candidates += [(1, i, 1, j)] if with_positives else []
            candidates += [(0, i, n, j) for n in range(2, len(columns))]
            for c, x, e, y in candidates:
                if cosine(guide[c][x], guide[e][y]) <= threshold + 1e-6:  # up to rounding
                    logits.append(cosine(columns[c][x], columns[e][y]) / temperature)
        losses.append(torch.logsumexp(stack(logits), dim=0) - own)
    return mean(losses)


def mega_batch_margin(columns, positive_margin=0.8, negative_margin=0.3):
    anchors, positives = columns
    losses = []
    for i, a in enumerate(anchors):
        others = [cosine(a, p) for j, p in enumerate(positives) if j != i]
        losses.append(relu(positive_margin - cosine(a, positives[i])))
        losses.append(relu(max(others) - negative_margin))
    return sum(losses) / len(anchors)


def orthogonal(columns, mean_weight=1.0, second_weight=1.0, similarity=cosine, average=True):
    parts = []
    for column in columns:
        b, d = column.shape
        scores = [similarity(column[i], column[j]) for i in range(b) for j in range(b) if i != j]
        first = mean(scores) ** 2
        second = relu(mean([score**2 for score in scores]) - 1 / d)
        parts.append((mean_weight * first, second_weight * second))
    divisor = len(columns) if average else 1
    first, second = (sum(part) / divisor for part in zip(*parts, strict=True))
    return {"gor_mean": first, "gor_second_moment": second}


def cut(columns, width):
    return [
        stack([row[:width] / row[:width].norm().clamp(min=1e-12) for row in column])
        for column in columns
    ]
