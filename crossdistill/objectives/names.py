"""Names of the objectives that come with the package; torch is not loaded for them."""

HOMES = {
    "alm": "alm:ALM",
    "bld": "bld:BLD",
    "bpm": "bpm:BPM",
    "cdm": "cdm:CDM",
    "dpca": "dpca:DPCA",
    "escd": "escd:ESCD",
    "expected": "expected:Expected",
    "gkd": "gkd:GKD",
    "gold": "gold:GOLD",
    "gvpo": "gvpo:GVPO",
    "multilevel_ot": "multilevel_ot:MultiLevelOT",
    "shared_vocab": "shared_vocab:SharedVocab",
    "simct": "simct:SimCT",
    "strict": "strict:Strict",
    "uld": "uld:ULD",
}
"""Name -> module, below ``crossdistill.objectives``, and class."""
