import pytest

from clipper.errors import InvalidRequest
from clipper.selection import policy_named, policy_names


def test_the_policies_of_this_package_are_there():
    built_in = "ab average epsilon_greedy exp3 exp4 majority single thompson ucb1"
    assert set(built_in.split()) <= set(policy_names())


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("exp5", {}, r"policy must be one of ab, average, .*; got 'exp5'\."),
        ("single", {"eta": 1}, r"policy 'single' takes no options; got eta\."),
        ("exp3", {"etta": 0.1}, r"'etta' of the policy 'exp3' is not a field that is known; its fields are .*eta"),
        ("exp3", {"eta": 0}, r"'eta' of the policy 'exp3' must be greater than 0; 0 came\."),
        ("exp3", {"eta": "much"}, r"'eta' of the policy 'exp3' must be a number; 'much' came\."),
        ("exp3", {"eta": True}, r"'eta' of the policy 'exp3' must be a number; True came\."),
        ("exp3", {"eta": 0.1, "sharpness": 5}, r"The policy 'exp3': takes 'eta' or 'sharpness', not both\."),
        ("exp3", {"exploration": 1.5}, r"'exploration' .* must be less than or equal to 1; 1.5 came\."),
        ("exp3", {"half_life_feedbacks": 0}, r"'half_life_feedbacks' .* must be greater than or equal to 1; 0 came\."),
        ("exp3", {"prior_feedbacks": -1}, r"'prior_feedbacks' .* must be greater than or equal to 0; -1 came\."),
        ("exp4", {"combining": "median"}, r"'combining' of the policy 'exp4' must be 'vote' or 'mean'; 'median' came"),
        ("exp4", {"new_version": "forget"}, r"'new_version' .* must be 'inherit' or 'restart'; 'forget' came\."),
        ("ucb1", {"temperature": 0}, r"'temperature' .* must be greater than 0; 0 came\."),
        ("ab", {"shares": {"a": -1}}, r"'shares.a' of the policy 'ab' must be greater than or equal to 0; -1 came\."),
        ("ab", {"shares": [1, 2]}, r"'shares' of the policy 'ab' must be a JSON object; \[1, 2\] came\."),
    ],
)
def test_what_a_policy_does_not_take_is_refused_with_what_it_takes(name, options, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        policy_named(name, options)


def test_options_are_taken():
    policy = policy_named("exp3", {"eta": 0.05, "half_life_feedbacks": None, "new_version": "restart"})
    assert (policy.eta, policy.half_life_feedbacks, policy.new_version) == (0.05, None, "restart")
