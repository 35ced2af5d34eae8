"""The names of `sentune.data`."""


def test_the_public_names_are_functions_and_classes():
    import sentune.data
    import sentune.data.nested

    assert sentune.data.__all__ == ["InputExample", "check", "spread"]
    assert sentune.data.spread is sentune.data.nested.spread
    assert all(callable(getattr(sentune.data, name)) for name in sentune.data.__all__)
