"""SCXML of machine classes: the structural subset that both models share.

SCXML (W3C Recommendation, 2015) is the exchange format of statecharts. `export_scxml` writes the
states, initials, history, final states, transitions, entry and exit behaviours and guards of a
class; behaviours and guards go by name. `import_scxml` makes a class of such a document.

Constructs without an equal on the other side are refused by name. The two models differ
(`docs/hsm/semantics.md`), and an error is better than a machine that behaves almost the same.
"""

from .document import ScxmlError
from .export import export_scxml
from .importer import import_scxml

__all__ = ["ScxmlError", "export_scxml", "import_scxml"]
