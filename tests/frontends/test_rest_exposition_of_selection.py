from prometheus_client.parser import text_string_to_metric_families

from clipper.metrics import ApplicationMetrics
from clipper_frontends.rest.exposition import Exposition, Measured


def samples(app: ApplicationMetrics) -> dict[tuple, float]:
    text, _ = Exposition(lambda: Measured(applications={"digits": app})).text("")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name.startswith("clipper_selection") and sample.name.endswith("_total")
    }


def test_what_a_policy_chose_and_combined_is_exposed():
    app = ApplicationMetrics()
    selection = app.selection
    selection.choices["svm:1"] = 7
    selection.missing["svm:1", "deadline_exceeded"] = 2
    selection.ejections["svm:1"] = 6
    selection.fallbacks["combine"] = 3
    selection.combined, selection.disagreements, selection.unknown_users = 5, 4, 1
    digits = ("app", "digits")
    assert samples(app) == {
        ("clipper_selection_choices_total", digits, ("model", "svm:1")): 7,
        ("clipper_selection_missing_total", digits, ("cause", "deadline_exceeded"), ("model", "svm:1")): 2,
        ("clipper_selection_ejections_total", digits, ("model", "svm:1")): 6,
        ("clipper_selection_fallbacks_total", digits, ("failed_in", "combine")): 3,
        ("clipper_selection_combined_total", digits): 5,
        ("clipper_selection_disagreements_total", digits): 4,
        ("clipper_selection_unknown_users_total", digits): 1,
    }


def test_where_nothing_is_chosen_nothing_is_exposed():
    assert samples(ApplicationMetrics()) == {}
