"""A traffic light with a pedestrian button and a service mode.

`tick` comes once a second. A button pressed while the light is not green is not lost: it is
deferred and ends the next green phase early. Service interrupts whatever phase it finds; the light
goes on with that phase afterwards, by deep history. Run it: `python examples/hsm/traffic_light.py`
"""

from tensor_pool.hsm import (
    ANY,
    DEEP,
    HANDLED,
    ROOT,
    Machine,
    Outcome,
    State,
    on_entry,
    on_event,
    on_initial,
)

PHASE_S = {"Red": 3, "RedAmber": 1, "Green": 5, "Amber": 1}


class TrafficLight(Machine):
    """Events: `tick` (one second has passed), `button`, `service`, `resume`."""

    Working = State()
    Stop = State(parent=Working)
    Red = State(parent=Stop, defer=["button"])
    RedAmber = State(parent=Stop, defer=["button"])
    Go = State(parent=Working)
    Green = State(parent=Go)
    Amber = State(parent=Go, defer=["button"])
    Service = State(defer=["button"])

    begin = on_initial(ROOT, target=Working)
    working_begins = on_initial(Working, target=Stop)
    stop_begins = on_initial(Stop, target=Red)
    go_begins = on_initial(Go, target=Green)

    def __init__(self) -> None:
        self.left_s = 0
        super().__init__()

    # Every phase counts down, and its own candidate takes the tick once the time is up.

    def time_is_up(self, arg: object) -> bool:
        return self.left_s <= 1

    red_ends = on_event(Red, "tick", guard=time_is_up, target=RedAmber)
    red_amber_ends = on_event(RedAmber, "tick", guard=time_is_up, target=Go)
    green_ends = on_event(Green, "tick", guard=time_is_up, target=Amber)
    amber_ends = on_event(Amber, "tick", guard=time_is_up, target=Stop)

    @on_event(Working, "tick")
    def count_down(self, arg: object) -> Outcome:
        self.left_s -= 1
        return HANDLED

    @on_entry(ANY)
    def start_clock(self, state: State) -> None:
        self.left_s = PHASE_S.get(state.name, self.left_s)

    # The button, service and what comes after it.

    @on_event(Green, "button")
    def hurry(self, arg: object) -> Outcome:
        self.left_s = min(self.left_s, 2)
        return HANDLED

    interrupt = on_event(Working, "service", target=Service)
    back_to_work = on_event(Service, "resume", target=Working, history=DEEP)


def main() -> None:
    light = TrafficLight()
    plan = {4: "button", 8: "service", 10: "resume", 13: "button"}
    for second in range(16):
        if second in plan:
            result = light.dispatch(plan[second])
            print(f"{second:2} s  {plan[second]:8} {result.name}")
        light.dispatch("tick")
        print(f"{second:2} s  {light.current.name}")


if __name__ == "__main__":
    main()
