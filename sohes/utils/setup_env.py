"""Register everything of this package at once."""
import importlib


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import every module that registers types.

    Configs do not need it: mmengine imports ``sohes.registry`` by itself when
    it meets the scope. It serves scripts that name types without a scope.

    Args:
        init_default_scope (bool): make ``sohes`` the default scope, so that
            types without a scope are looked up here first.
    """
    # Here: who draws or clusters needs no mmengine, but uses this room.
    from mmengine.registry import DefaultScope
    registry = importlib.import_module('sohes.registry')
    for name in registry.__all__:
        getattr(registry, name).import_from_location()
    if not init_default_scope:
        return
    current = DefaultScope.get_current_instance()
    if current is None or current.scope_name != 'sohes':
        # A name of its own, as in mmdet: an instance's scope cannot change.
        name = f'sohes-{0 if current is None else id(current)}'
        DefaultScope.get_instance(name, scope_name='sohes')
