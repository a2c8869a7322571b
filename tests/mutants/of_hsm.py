"""Wrong state machines."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        "outer states are left before inner ones",
        "hsm/_engine/exit_and_entry_plans.py",
        "        for state in exited:\n",
        "        for state in reversed(exited):\n",
        ("tests/hsm/test_transitions.py",),
    ),
    Mutant(
        "inner states are entered before outer ones",
        "hsm/_engine/exit_and_entry_plans.py",
        "entered = self.chart.between(target, scope)[::-1]",
        "entered = self.chart.between(target, scope)",
        ("tests/hsm/test_transitions.py",),
    ),
    Mutant(
        "the effect runs before the exits",
        "hsm/_engine/exit_and_entry_plans.py",
        "        self._leave(script, leaf, scope)\n"
        "        self._act(script, leaf, target, scope, effect)\n",
        "        self._act(script, leaf, target, scope, effect)\n"
        "        self._leave(script, leaf, scope)\n",
        ("tests/hsm/test_transitions.py",),
    ),
    Mutant(
        "shallow history goes as deep as deep history",
        "hsm/_engine/exit_and_entry_plans.py",
        "target = chart.between(remembered, owner)[-1]",
        "target = remembered",
        ("tests/hsm/test_history.py",),
    ),
    Mutant(
        "a final state leaves the history of its composite",
        "hsm/_engine/exit_and_entry_plans.py",
        '            script.add("if memory is not None: memory[{}] = None", cell)\n',
        "",
        ("tests/hsm/test_history.py",),
    ),
    Mutant(
        "a composite that completes is remembered by its final state",
        "hsm/_engine/exit_and_entry_plans.py",
        "memory = None if isinstance(leaf, Final) else leaf",
        "memory = leaf",
        ("tests/hsm/test_history.py",),
    ),
    Mutant(
        "the initial of a composite is not taken",
        "hsm/_engine/exit_and_entry_plans.py",
        "        if initial is not None:\n            self.take_initial(script, initial, target)",
        "        if initial is not None and target is ROOT:\n"
        "            self.take_initial(script, initial, target)",
        ("tests/hsm/test_transitions.py",),
    ),
    Mutant(
        "deferred events are not offered again after a transition",
        "hsm/_engine/run_to_completion.py",
        "        due.offer = 0\n",
        "        due.offer = None\n",
        ("tests/hsm/test_extensions.py",),
    ),
    Mutant(
        "an event deferred again goes to the end of the queue",
        "hsm/_engine/run_to_completion.py",
        "agenda.deferred.insert(agenda.place, item)",
        "agenda.deferred.append(item)",
        ("tests/hsm/test_extensions.py",),
    ),
    Mutant(
        "the last posted event comes first",
        "hsm/_engine/run_to_completion.py",
        "take(m, *due.posted.popleft())",
        "take(m, *due.posted.pop())",
        ("tests/hsm/test_dispatch.py", "tests/hsm/test_extensions.py"),
    ),
    Mutant(
        "posted events overtake recalled ones",
        "hsm/_engine/run_to_completion.py",
        "        elif due.offer is not None:\n"
        "            _offer(m, due)\n"
        "        elif due.posted:\n"
        "            take(m, *due.posted.popleft())\n",
        "        elif due.posted:\n"
        "            take(m, *due.posted.popleft())\n"
        "        elif due.offer is not None:\n"
        "            _offer(m, due)\n",
        ("tests/hsm/test_extensions.py",),
    ),
    Mutant(
        "posted events overtake completions",
        "hsm/_engine/run_to_completion.py",
        "        elif due.completion:\n"
        "            due.completion = False\n"
        "            _complete(m)\n",
        "        elif due.completion and not due.posted:\n"
        "            due.completion = False\n"
        "            _complete(m)\n",
        ("tests/hsm/test_completion.py", "tests/hsm/test_extensions.py"),
    ),
    Mutant(
        "a machine runs on after an exception in a transition",
        "hsm/_engine/run_to_completion.py",
        "        m._hsm_node = Node(node.tables, node.state, Phase.FAULTED, refuse_to_run)\n",
        "",
        ("tests/hsm/test_exceptions.py",),
    ),
    Mutant(
        "a step that an exception leaves does not end",
        "hsm/_engine/run_to_completion.py",
        '    """End a step that an exception leaves (H-162)."""\n    rest(m)\n',
        '    """End a step that an exception leaves (H-162)."""\n',
        ("tests/hsm/test_exceptions.py",),
    ),
    Mutant(
        "a handler may take a second transition",
        "hsm/_engine/exit_and_entry_plans.py",
        'script.add("m._hsm_active = {}", activation.taken)',
        'script.add("m._hsm_active = {}", activation)',
        ("tests/hsm/test_permits.py",),
    ),
    Mutant(
        "a handler may decline after it has taken a transition",
        "hsm/_engine/run_to_completion.py",
        "    if active is not None and active.spent:",
        "    if activation_of(m).spent and False:",
        ("tests/hsm/test_dispatch.py", "tests/hsm/test_transitions.py"),
    ),
    Mutant(
        "a step may begin within a step",
        "hsm/_engine/run_to_completion.py",
        "    if in_step(m):\n        raise DispatchError(",
        "    if in_step(m) and call == 'start':\n        raise DispatchError(",
        ("tests/hsm/test_dispatch.py", "tests/hsm/test_lifecycle.py"),
    ),
    Mutant(
        "a base class's handler goes before the derived one's",
        "hsm/_definition/precedence.py",
        "sorted(ranked, key=lambda each: each[0])",
        "sorted(ranked, key=lambda each: -each[0])",
        ("tests/hsm/test_families.py",),
    ),
    Mutant(
        "a reset machine remembers its history",
        "hsm/_engine/run_to_completion.py",
        "    tables.memories.begin(m)\n",
        "",
        ("tests/hsm/test_lifecycle.py", "tests/hsm/test_history.py"),
    ),
    Mutant(
        "a state is active only while it is the leaf",
        "hsm/machine.py",
        "state in node.tables.chart.paths[node.state]",
        "state is node.state",
        ("tests/hsm/test_lifecycle.py", "tests/hsm/test_transitions.py"),
    ),
    Mutant(
        "a snapshot brings back no history",
        "hsm/_engine/history.py",
        "                memory[self.cells[owner]] = leaf\n",
        "                memory[self.cells[owner]] = None\n",
        ("tests/hsm/test_snapshots.py",),
    ),
    Mutant(
        "a recall of an active owner uses the memory of the visit before",
        "hsm/_engine/exit_and_entry_plans.py",
        "owner not in chart.paths[source][1:] and not entering:",
        "False:",
        ("tests/hsm/test_history.py",),
    ),
    Mutant(
        "the effect of a history default runs before the owner's entry",
        "hsm/_engine/exit_and_entry_plans.py",
        "if default is not None and default.state not in entered:",
        "if default is not None:",
        ("tests/hsm/test_history.py",),
    ),
    Mutant(
        "an entry handler finds the machine where it was before",
        "hsm/_engine/exit_and_entry_plans.py",
        "            script.at(self.nodes[state])\n"
        "            if self.traced and not isinstance(state, Terminate | Region):\n",
        "            if self.traced and not isinstance(state, Terminate | Region):\n",
        ("tests/hsm/test_transitions.py",),
    ),
    Mutant(
        "entry handlers do not get the argument when a handler takes the transition",
        "hsm/_engine/dispatch_tables.py",
        "        m._hsm_memory[cell] = arg\n",
        "",
        ("tests/hsm/test_entry_exit_argument.py",),
    ),
    Mutant(
        "steps have no end",
        "hsm/_engine/run_to_completion.py",
        "            if count > m.max_steps:\n",
        "            if count > 2 * m.max_steps:\n",
        ("tests/hsm/test_endless_steps.py",),
    ),
    Mutant(
        "a cycle of completions is accepted",
        "hsm/_definition/checks.py",
        "completion_cycles.endless(chart) if not self.problems else ()",
        "()",
        ("tests/hsm/test_endless_steps.py",),
    ),
    Mutant(
        "a declaration below another decorator is lost",
        "hsm/_definition/family.py",
        "for declaration in hidden_declarations_of(value)",
        "for declaration in ()",
        ("tests/hsm/test_definition.py",),
    ),
    Mutant(
        "a periodic timer makes up for every period that was missed",
        "hsm/_engine/timers.py",
        "deadline + period * (missed + 1)",
        "deadline + period",
        ("tests/hsm/test_time_events.py",),
    ),
    Mutant(
        "what a handler without an effect leaves stays active until the initial has run",
        "hsm/_engine/codegen.py",
        "            self._node, self._stored = node, None\n",
        "            pass\n",
        ("tests/hsm/test_transitions.py",),
    ),
    Mutant(
        "a timer outlives its state",
        "hsm/_engine/exit_and_entry_plans.py",
        'script.add("m._hsm_memory[{}] = None", cell)',
        'script.add("m._hsm_memory[{}]", cell)',
        ("tests/hsm/test_time_events.py",),
    ),
    Mutant(
        "timers that are due at once fire in any order",
        "hsm/_engine/timers.py",
        "(deadlines[each], each.order)",
        "(deadlines[each], -each.order)",
        ("tests/hsm/test_time_events.py",),
    ),
    Mutant(
        "a runner sleeps although an event has come",
        "hsm/runner.py",
        "        self._inbox.append((event, arg))\n        self._notify()\n",
        "        self._inbox.append((event, arg))\n",
        ("tests/hsm/test_runner.py",),
    ),
    Mutant(
        "a machine that is stopped runs no exit handlers",
        "hsm/_engine/run_to_completion.py",
        "            node.tables.guarded(m, node.tables.routes.stop(node.state), None)\n",
        "            pass\n",
        ("tests/hsm/test_observers.py",),
    ),
    Mutant(
        "a strict machine takes unknown events for unhandled ones",
        "hsm/_engine/inquiry.py",
        "    if chart.strict and event not in chart.vocabulary:",
        "    if False:",
        ("tests/hsm/test_inquiry.py",),
    ),
)
