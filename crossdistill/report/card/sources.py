"""Where each objective comes from, for the citation of a model card."""

SOURCES = {
    "alm": "Minixhofer, Vulić and Ponti, arXiv 2503.20083",
    "bld": "Byte-Level Distillation, Singh et al., arXiv 2604.07466",
    "bpm": "Byte-prefix marginalisation, Wang et al., arXiv 2607.22334",
    "cdm": "Contextual dynamic mapping, Chen et al., arXiv 2502.11104",
    "dpca": "Breaking the Tokenizer Barrier: On-Policy Distillation across Model Families",
    "escd": "Event-set completion, arXiv 2609.34738",
    "expected": "crossdistill, after Breaking the Tokenizer Barrier",
    "gkd": "Generalised knowledge distillation, Agarwal et al., arXiv 2306.13649",
    "gold": "General Online Logit Distillation, Patiño et al., 2025",
    "gvpo": "Group Variance Policy Optimization, Zhang et al., arXiv 2504.19599",
    "multilevel_ot": "Multi-Level Optimal Transport, Cui et al., arXiv 2412.14528",
    "shared_vocab": "the simplest baseline of SimCT, arXiv 2605.07711",
    "simct": "SimCT, arXiv 2605.07711",
    "strict": "Rethinking Cross-Tokenizer On-Policy Distillation, arXiv 2610.08448",
    "uld": "Universal logit distillation, Boizard et al., arXiv 2402.12030",
}
"""Name of an objective -> its source; the pages in docs/math say which sections."""
