"""One text and its class: pulls texts of a class together and pushes others apart.

python examples/sentence_class.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_model
from datasets import Dataset

from sentune import SentenceTransformer, SentenceTransformerTrainer, losses
from sentune.losses import BatchHardTripletLossDistanceFunction

VERDICTS = {
    0: "great lovely superb pleasant excellent delightful".split(),
    1: "awful dreadful poor terrible disappointing horrible".split(),
    2: "average ordinary acceptable passable fair mediocre".split(),
}
TOPICS = "soup hotel concert book train lesson bread game walk speech".split()
HELD_OUT = "film dinner museum flight song party".split()


def texts(topics: list[str]) -> Dataset:
    return Dataset.from_list(
        [
            {"text": f"The {topic} was {word}.", "label": label}
            for topic in topics
            for label, words in VERDICTS.items()
            for word in words
        ]
    )


def same_class(model: SentenceTransformer, dataset: Dataset) -> str:
    """How often the nearest other text has the same class, rather than the same topic."""
    embeddings, labels = model.encode(list(dataset["text"])), list(dataset["label"])
    scores = model.similarity(embeddings, embeddings).fill_diagonal_(-1)
    right = [labels[near] == label for near, label in zip(scores.argmax(1), labels, strict=True)]
    return f"the nearest text is of the same class in {sum(right) / len(right):.1%}"


def main() -> None:
    model, train, test = load_model(), texts(TOPICS), texts(HELD_OUT)
    print(f"Before: {same_class(model, test)}")

    # The loss builds its triplets within a batch, which must hold several rows of a class.
    cosine = BatchHardTripletLossDistanceFunction.cosine_distance
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments("sentence_class", batch_sampler="group_by_label", num_train_epochs=2),
        train_dataset=train,
        loss=losses.BatchAllTripletLoss(model, distance_metric=cosine, margin=0.3),
    )
    trainer.train()
    print(f"After: {same_class(model, test)}")


if __name__ == "__main__":
    main()
