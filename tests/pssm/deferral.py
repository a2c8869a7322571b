"""PSSM tests of deferral, without regions."""

from __future__ import annotations

from tensor_pool.hsm import ROOT, Final, State, on_completion, on_event, on_initial
from tests.pssm.traced import Traced, pssm, traces


@pssm(
    "Deferred 001",
    "S1(exit)::S2(entry)::T4(effect)::S3(entry)",
    send="Start AnotherSignal Continue",
)
class Deferred001(Traced):
    exits = "S1"
    entries = "S2 S3"
    wait = State()
    S1 = State(defer=["AnotherSignal"])
    S2 = State()
    S3 = State()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_event(S1, "Continue", target=S2)
    t4 = on_event(S2, "AnotherSignal", target=S3)(traces("T4(effect)"))


@pssm(
    "Deferred 002",
    "S1(exit)::T4(effect)::S2(entry)::T6(effect)::S3(entry)",
    send="Start AnotherSignal Pending Continue",
    inferred=True,
)
class Deferred002(Traced):
    """An event stays deferred while the new state defers it as well."""

    exits = "S1"
    entries = "S2 S3"
    wait = State()
    S1 = State(defer=["AnotherSignal", "Pending"])
    S2 = State(defer=["AnotherSignal"])
    S3 = State()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)
    t4 = on_event(S1, "Continue", target=S2)(traces("T4(effect)"))
    t6 = on_event(S2, "Pending", target=S3)(traces("T6(effect)"))


@pssm(
    "Deferred 003",
    "S1.1.1(exit)::T1.1.2(effect)::S1.1(exit)::T1.2(effect)::S1.2(exit)::T1.3(effect)",
    send="Start AnotherSignal Continue",
)
class Deferred003(Traced):
    """The deferral of an inner state wins over the transition of the state around it."""

    exits = "S1.1.1 S1.1 S1.2"
    wait = State()
    S1 = State()
    S11 = State("S1.1", parent=S1, defer=["AnotherSignal"])
    S111 = State("S1.1.1", parent=S11)
    S11_end = Final(parent=S11)
    S12 = State("S1.2", parent=S1)
    S13 = State("S1.3", parent=S1)
    end = Final()
    begin = on_initial(ROOT, target=wait)
    begin_s1 = on_initial(S1, target=S11)
    begin_s11 = on_initial(S11, target=S111)
    t2 = on_event(wait, "Start", target=S1)
    t112 = on_event(S111, "Continue", target=S11_end)(traces("T1.1.2(effect)"))
    t12 = on_completion(S11, target=S12)(traces("T1.2(effect)"))
    t13 = on_event(S12, "AnotherSignal", target=S13)(traces("T1.3(effect)"))
    t3 = on_event(S1, "AnotherSignal", target=end)(traces("T3(effect)"))


@pssm(
    "Deferred 005",
    "T3(effect)::S2(entry)::T4(effect)::S2(entry)::T5(effect)::S2(entry)",
    send="Start AnotherSignal Pending Continue",
    inferred=True,
)
class Deferred005(Traced):
    """Deferred occurrences are taken in the order of their arrival."""

    entries = "S2"
    wait = State()
    S1 = State(defer=["AnotherSignal", "Pending"])
    S2 = State()
    begin = on_initial(ROOT, target=wait)
    t2 = on_event(wait, "Start", target=S1)
    t3 = on_event(S1, "Continue", target=S2)(traces("T3(effect)"))
    t4 = on_event(S2, "AnotherSignal", target=S2)(traces("T4(effect)"))
    t5 = on_event(S2, "Pending", target=S2)(traces("T5(effect)"))
