"""A light switch with a dimmer.

The light is off or on; while it is on it is dim or bright. Switching on always starts dim. Run it:
`python examples/hsm/light_switch.py`
"""

from tensor_pool.hsm import ROOT, Machine, State, on_entry, on_event, on_exit, on_initial


class LightSwitch(Machine):
    """`flip` switches the light, `dim` and `brighten` choose how bright it is."""

    Off = State()
    On = State()
    Dim = State(parent=On)
    Bright = State(parent=On)

    starts_off = on_initial(ROOT, target=Off)
    starts_dim = on_initial(On, target=Dim)

    flip_on = on_event(Off, "flip", target=On)
    flip_off = on_event(On, "flip", target=Off)
    brighten = on_event(Dim, "brighten", target=Bright)
    dim = on_event(Bright, "dim", target=Dim)

    @on_entry(On)
    def close_circuit(self) -> None:
        self.current_flows = True

    @on_exit(On)
    def open_circuit(self) -> None:
        self.current_flows = False


def main() -> None:
    switch = LightSwitch()
    for event in ("flip", "brighten", "dim", "brighten", "flip", "dim"):
        result = switch.dispatch(event)
        print(f"{event:9} {result.name:10} {switch.current.name}")


if __name__ == "__main__":
    main()
