"""Each proof of the topic runs in a fresh process and gives the marked answer."""

from __future__ import annotations

from tests.support.proofs import check_claims_look, check_proof, proofs

from twogate.lab.bank import Question


@proofs("channels")
def test_the_proof_gives_the_marked_answer(question: Question) -> None:
    check_proof(question)


@proofs("channels")
def test_no_claim_holds_without_a_proof(question: Question) -> None:
    check_claims_look(question)
