"""Writes scores.json: logits and what NumPy makes of them in float64. Run with NumPy 2: python3 make_scores.py"""
import json
import pathlib

import numpy

rng = numpy.random.default_rng(20)
POSITIONS, VOCABULARY = 6, 211


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - numpy.log(numpy.exp(z).sum(axis=-1, keepdims=True))


# Logits are n / 64, so that the text is short and the floats are exact.
reference = numpy.round(rng.normal(0, 4, (POSITIONS, VOCABULARY)) * 64)
noise = numpy.array([0.0, 0.001, 0.02, 0.2, 1.0, 4.0])[:, None]
candidate = numpy.round(reference + rng.normal(0, 1, reference.shape) * noise * 64)
targets = rng.integers(0, VOCABULARY, POSITIONS)
log_p, log_q = log_softmax(reference / 64), log_softmax(candidate / 64)
rows = numpy.arange(POSITIONS)
scores = {
    "divergence": (numpy.exp(log_p) * (log_p - log_q)).sum(axis=-1).tolist(),
    "referenceLoss": (-log_p[rows, targets]).tolist(),
    "candidateLoss": (-log_q[rows, targets]).tolist(),
    "agrees": (log_p.argmax(axis=-1) == log_q.argmax(axis=-1)).astype(int).tolist(),
}

# Scores of seven windows of unequal length, for the statistics.
windows = []
for length in (40, 40, 40, 40, 40, 23, 1):
    loss = rng.gamma(2, 1.2, length)
    kl = rng.lognormal(-5, 1.7, length)
    windows.append({
        "divergence": kl.tolist(), "referenceLoss": loss.tolist(),
        "candidateLoss": numpy.maximum(loss + rng.normal(0, 1, length) * kl**0.5, 1e-3).tolist(),
        "agrees": (rng.random(length) > 0.1).astype(int).tolist(),
    })
joined = {key: numpy.concatenate([w[key] for w in windows]) for key in windows[0]}
change = numpy.exp(-joined["candidateLoss"]) - numpy.exp(-joined["referenceLoss"])
quantile = lambda share: float(numpy.quantile(joined["divergence"], share, method="inverted_cdf"))
summary = {
    "mean": float(joined["divergence"].mean()), "median": quantile(0.5), "p90": quantile(0.9), "p99": quantile(0.99),
    "p999": quantile(0.999), "max": float(joined["divergence"].max()),
    "referencePerplexity": float(numpy.exp(joined["referenceLoss"].mean())),
    "candidatePerplexity": float(numpy.exp(joined["candidateLoss"].mean())),
    "ratio": float(numpy.exp((joined["candidateLoss"] - joined["referenceLoss"]).mean())),
    "top1": float(joined["agrees"].mean()), "meanChange": float(change.mean()),
    "rmsChange": float((change**2).mean() ** 0.5), "tokens": len(change),
}
golden = {
    "vocabulary": VOCABULARY, "reference": reference.astype(int).ravel().tolist(),
    "candidate": candidate.astype(int).ravel().tolist(), "targets": targets.tolist(), "scores": scores,
    "windows": windows, "summary": summary,
}
text = ",\n".join(f' "{key}": {json.dumps(value)}' for key, value in golden.items())
pathlib.Path(__file__).with_name("scores.json").write_text("{\n" + text + "\n}\n")
