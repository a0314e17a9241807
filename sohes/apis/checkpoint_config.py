"""The configuration that came with a checkpoint: data, and not trusted.

A configuration of mmengine is Python that is run, and its types may name any
function of any module. That is right for a file that a person wrote and
names on the command line. What lies inside a checkpoint was written by
whoever made the checkpoint.
"""
import ast
import io
import json
import keyword
import re
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS, Registry
from torch import Tensor

from sohes.apis.checkpoint_bounds import check_numbers, check_steps
from sohes.utils.errors import FileError, UsageError
from sohes.utils.imports import nothing_printed
from sohes.utils.json_guard import JsonGuard
from sohes.weights.vit_weights import vit_in_model
from sohes.weights.vit_zoo import ZOO

#: Characters of a configuration; ours have 30 000.
_LONGEST = 1 << 18
#: Brackets within brackets in it.
_DEEPEST = 50
_SCOPES = ('sohes', 'mmdet', 'mmengine', 'mmcv', 'mmpretrain')
#: Where the classes come from that a model and its test pipeline are made
#: of.
_MODULES = re.compile(
    r'(sohes|mmcv\.(cnn|ops|transforms)|mmengine\.model|'
    r'mmengine\.utils\.dl_utils\.parrots_wrapper|torch\.nn|'
    r'mmdet\.structures|mmdet\.datasets\.transforms|mmdet\.models|'
    r'mmpretrain\.models\.(backbones\.vision_transformer|utils\.norm|'
    r'losses))(\..*)?')
#: What in these looks up code by name, evaluates text or reads other files:
#: one of the tracking modules passes an argument to ``eval``.
_REACHING = re.compile(
    r'mmcv\.cnn\.rfsearch.*|mmdet\.datasets\.transforms\.text_.*|'
    r'mmdet\.models\.(language_models|mot|vis|reid|tracking_heads|'
    r'trackers|task_modules\.tracking|'
    r'detectors\.(kd_one_stage|lad|glip|grounding_dino|d2_wrapper)|'
    r'dense_heads\.(atss_vlfusion_head|grounding_dino_head)).*')
_NOT = ('Albu', 'InferencerLoader')
#: mmcv looks its operations up by name, and evaluates that of a suppression
#: as Python; these are its own.
_OPERATIONS = ('nms', 'soft_nms', 'RoIAlign')
#: Keys by which mmengine imports, merges or evaluates.
_FORBIDDEN = ('_base_', '_delete_', 'custom_imports')
#: Keys that name files to start training from; inference has the weights.
_FILES = ('init_cfg', 'pretrained')
#: How a tuple is written as json.
_TUPLE = '__tuple__'
_STRING = re.compile(r"""[uU]?['"]""")
_MARKS = frozenset('()[]{}=,:-')
_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT,
           tokenize.ENDMARKER, tokenize.ENCODING)
_ADVICE = ('. Nothing of it was run. Name the configuration that the '
           'checkpoint was trained with, or, if you wrote the checkpoint '
           'yourself, give --trust-checkpoint')


def checkpoint_config(path: str | Path, meta: Mapping[str, Any],
                      trust: bool = False) -> Config:
    """The configuration inside a checkpoint.

    Args:
        path: the checkpoint, for messages.
        meta: of the checkpoint; ``cfg`` is json, or Python's literals as
            mmengine writes them.
        trust: run it as Python, as mmengine does.

    Returns:
        The configuration. Its types were not looked at, see
        :func:`check_types`.

    Raises:
        UsageError: there is none, or it is not data.
    """
    text = meta.get('cfg')
    if not text or not isinstance(text, str):
        raise UsageError(f'{path} has no configuration in it: name the one '
                         'that it was trained with')
    try:
        if text.lstrip().startswith('{'):
            return Config(_from_json(text))
        if trust:
            return Config.fromstring(text, '.py')
        return Config(_from_literals(text))
    except Exception as error:  # with trust it is a program
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise UsageError(
            f'{path}: the configuration inside is not data: {reason:.200}'
            f'{"" if trust else _ADVICE}') from error


def inference_config(path: str | Path, checkpoint: Mapping[str, Any],
                     trust: bool = False) -> Config:
    """The model and the test pipeline of :func:`checkpoint_config`.

    Args:
        path, trust: as there.
        checkpoint: with ``meta`` and ``state_dict``. The shape of a ViT is
            read from its weights where the configuration names a file.

    Returns:
        Only ``default_scope``, ``model`` and ``test_dataloader`` with its
        pipeline; all types are registered names, unless trusted.

    Raises:
        UsageError: there is none, it is not data, or it names other code.
    """
    config = checkpoint_config(path, checkpoint['meta'], trust)
    try:
        spell_out_vit(config.model, checkpoint['state_dict'], path)
        pipeline = config.test_dataloader.dataset.pipeline
        config = Config(
            dict(
                default_scope=config.get('default_scope', 'mmdet'),
                model=config.model.to_dict(),
                test_dataloader=dict(dataset=dict(pipeline=[
                    step.to_dict() for step in pipeline]))))
    except FileError as error:
        raise UsageError(f'{error}; its configuration takes the shape of the '
                         f'ViT from another file{_ADVICE}') from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f'{path}: the configuration inside has no model '
                         'with a test pipeline') from error
    if not trust:
        try:
            check_types(config)
        except ValueError as error:
            raise UsageError(f'{path}: the configuration inside '
                             f'{error}{_ADVICE}') from error
    return config


def spell_out_vit(model: Any, state: Mapping[str, Any],
                  path: str | Path) -> None:
    """Put the shape of a model's ViT where a file of weights was to tell it.

    That file was on the machine that trained. The weights of the ViT are in
    the checkpoint, and show the same.

    Args:
        model: of a configuration, with a ``detector`` or without; changed
            in place.
        state: the checkpoint's.
        path: the checkpoint, for messages.

    Raises:
        FileError: they do not show it.
    """
    for one in (model, model.get('detector')):
        backbone = one.get('backbone') if isinstance(one, Mapping) else None
        if (isinstance(backbone, Mapping) and backbone.get('vit') is None
                and str(backbone.get('type')).endswith('ViTAdapter')
                and backbone.get('weights') not in (None, *ZOO)):
            backbone['vit'] = vit_in_model(
                {name: value for name, value in state.items()
                 if isinstance(value, Tensor)}, str(path))


def check_types(config: Config) -> None:
    """Refuse a configuration that reaches beyond registered classes.

    Numbers that no model needs are refused as well.

    What names files to begin training from is taken out, in place.

    Args:
        config: ``default_scope``, ``model`` and ``test_dataloader``.

    Raises:
        ValueError: names what was found; goes on a subject.
    """
    if config.default_scope not in _SCOPES:
        raise ValueError(f'has the scope {config.default_scope!r:.60}')
    # The registries know a name once its module is there.
    from mmdet.utils import register_all_modules
    with nothing_printed():
        register_all_modules(init_default_scope=False)
        for registry in _registries(MODELS, TASK_UTILS, TRANSFORMS):
            registry.import_from_location()
    _check_node(config._cfg_dict)
    check_numbers(config._cfg_dict)
    check_steps(config.test_dataloader.dataset.pipeline)


def _check_node(node: Any) -> None:
    if isinstance(node, Mapping):
        for key in _FORBIDDEN:
            if key in node:
                raise ValueError(f'has {key}')
        for key in _FILES:
            dict.pop(node, key, None)
        if 'weights' in node:
            _drop_weights(node)
        if '_scope_' in node and node['_scope_'] not in _SCOPES:
            raise ValueError(f'has the scope {node["_scope_"]!r:.60}')
        if 'type' in node:
            _check_type(node['type'])
    if isinstance(node, (Mapping, list, tuple)):
        for item in list(node.values() if isinstance(node, Mapping)
                         else node):
            _check_node(item)


def _drop_weights(node: Any) -> None:
    """Leave weights only where they are a name of the zoo."""
    if node.get('vit') is not None:
        dict.pop(node, 'weights')
    elif node['weights'] not in (None, *ZOO):
        if not str(node.get('type')).endswith('FrozenViT'):
            raise ValueError('takes a ViT that is not in the checkpoint from '
                             f'the file {node["weights"]!r:.200}')
        node['weights'] = None  # whoever uses the model says which


def _check_type(kind: Any) -> None:
    from sohes.models.dense_heads.mask_refinement import REFINERS
    scope, _, name = kind.rpartition('.') if isinstance(kind, str) else (
        None, '', '')
    if scope is None or (scope and scope not in _SCOPES):
        raise ValueError(f'builds {kind!r:.100}, which is no registered name')
    if kind in _OPERATIONS or kind in REFINERS:
        return
    found = _registered(scope, name)
    if not found:
        raise ValueError(f'builds {kind!r:.100}, which is no registered name')
    for one in found:
        module = str(getattr(one, '__module__', ''))
        if (name in _NOT or not _MODULES.fullmatch(module)
                or _REACHING.fullmatch(module)):
            raise ValueError(f'builds {kind!r:.100}, which is no part of a '
                             'model for inference')


def _registered(scope: str, name: str) -> list[Any]:
    """What a name may mean.

    A bare name is looked up in MMDetection, ours and what both stand on;
    only inside MMPretrain's ViT does it mean something of MMPretrain.
    """
    registries = _registries(MODELS, TASK_UTILS, TRANSFORMS)
    found = {
        (registry.scope, registry.name): registry.module_dict[name]
        for registry in registries
        if scope in ('', registry.scope) and name in registry.module_dict
    }
    near = [one for (where, _), one in found.items()
            if where != 'mmpretrain']
    return near or list(found.values())


def _registries(*roots: Registry) -> list[Registry]:
    """mmengine's registries and those of our scopes below them."""
    return [
        registry for root in roots
        for registry in (root, *(child for scope, child
                                 in root.children.items()
                                 if scope in _SCOPES))
    ]


def _from_json(text: str) -> dict[str, Any]:
    """A dict from json within bounds.

    Raises:
        ValueError: it is none.
    """
    if len(text) > _LONGEST:
        raise ValueError(f'it is longer than {_LONGEST} characters')
    try:
        JsonGuard().feed(text.encode('utf-8', 'replace'))
    except FileError as error:
        raise ValueError(str(error)) from error
    found = json.loads(text, parse_constant=_no_constant,
                       object_hook=_as_tuple)
    if not isinstance(found, dict):
        raise ValueError('it is no json object')
    return found


def config_json(config: Config) -> str:
    """A configuration as json, which :func:`checkpoint_config` reads.

    Some arguments of MMDetection must be tuples, of which json has none:
    they are objects with the one key ``__tuple__``.
    """
    return json.dumps(_with_tuples(config.to_dict()))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_with_tuples(item) for item in value]
        return items if isinstance(value, list) else {_TUPLE: items}
    return value


def _as_tuple(found: dict[str, Any]) -> Any:
    """What json makes of an object."""
    if found.keys() == {_TUPLE} and isinstance(found[_TUPLE], list):
        return tuple(found[_TUPLE])
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f'{name} is no number')


def _from_literals(text: str) -> dict[str, Any]:
    """``name = literal`` lines, as mmengine's ``pretty_text`` has them.

    Raises:
        ValueError: it has anything else, such as an import or a call of
            anything but ``dict``.
    """
    _check_tokens(text)
    found = {}
    for node in ast.parse(text).body:
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1
                and isinstance(node.targets[0], ast.Name)):
            raise ValueError(f'line {node.lineno} is no "name = value"')
        found[node.targets[0].id] = _literal(node.value)
    return found


def _check_tokens(text: str) -> None:
    """Refuse all that is no literal, before anything parses it.

    A parser recurses with the depth of what it reads and can exhaust the
    stack of the process; the lines of a long string cost it their square.
    """
    if len(text) > _LONGEST or "'''" in text or '"""' in text:
        raise ValueError(f'it is longer than {_LONGEST} characters, or has '
                         'text over several lines')
    depth, previous = 0, ''
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind, mark = token.type, token.string
        line = f'line {token.start[0]} has {mark!r:.40}'
        if kind == tokenize.OP and mark in _MARKS:
            depth += (mark in '([{') - (mark in ')]}')
            if depth > _DEEPEST:
                raise ValueError(f'{line} nested more than {_DEEPEST} deep')
        elif kind == tokenize.NAME:
            if keyword.iskeyword(mark) and mark not in ('True', 'False',
                                                        'None'):
                raise ValueError(line)
        elif kind == tokenize.STRING:
            if not _STRING.match(mark):
                raise ValueError(line)
        elif kind == tokenize.NUMBER:
            if len(mark) > 40:
                raise ValueError(line)
        elif kind not in _LAYOUT:
            raise ValueError(line)
        if mark == '-' and previous == '-':
            raise ValueError(line)
        previous = mark


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        items = [_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Dict):
        return {_key(key): _literal(value)
                for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.UnaryOp) and isinstance(
            node.operand, ast.Constant) and type(
                node.operand.value) in (int, float):
        return -node.operand.value
    if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            and node.func.id == 'dict' and len(node.args) < 2
            and all(isinstance(arg, ast.Dict) for arg in node.args)):
        # mmengine writes dict({...}) where a key is no name.
        found = _literal(node.args[0]) if node.args else {}
        return {**found, **{word.arg: _literal(word.value)
                            for word in node.keywords if word.arg}}
    raise ValueError(f'line {node.lineno} is no literal')


def _key(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError('a key is no literal')
