"""Each model is served by itself too, for those who ask a model and no application."""

from engine_bench import served

from clipper.domain import Query
from clipper.engine.engine import key_of_model


def ask(bench, model, **options):
    answers = []
    query = Query(key_of_model(model), b"x", bench.timers.now(), **options)
    bench.engine.submit(query, answers.append)
    bench.timers.advance(2.0)
    (answer,) = answers
    return answer


def test_a_model_answers_without_its_application():
    bench = served(default_output=-1)
    assert ask(bench, "m").output == b"out:x"
    assert ask(bench, "m", version="1").output == b"out:x"
    bench.assert_idle()


def test_a_version_or_a_model_that_there_is_not_is_the_answers_error():
    bench = served(default_output=-1)
    assert ask(bench, "m", version="9").error.code == "unknown_version"
    assert ask(bench, "nobody").error.code == "unknown_model"
    bench.assert_idle()


def test_a_models_own_queries_need_no_name_that_an_application_could_take():
    bench = served()
    assert bench.engine.models.keys() == {key_of_model("m")}
    assert not bench.engine.models.keys() & bench.engine.applications.keys()
