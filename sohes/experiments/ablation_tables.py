"""Tables of ablations as markdown, the paper's own rows beside them."""
from collections.abc import Sequence
from typing import Any

from sohes.experiments.ablations import METRICS


def _table_2() -> list[dict[str, Any]]:
    head = ('step', 'choice', 'masks/image', 's/image', *METRICS)
    return [
        dict(zip(head, row)) for row in (
            ('1', 'theta_merge = 0.1', 1, 4.9, 0.2, 0.0, 0.0, 0.3, 0.1),
            ('1', 'theta_merge = 0.2', 3, 4.9, 0.8, 0.1, 0.1, 0.6, 0.3),
            ('1', 'theta_merge = 0.3', 9, 4.5, 0.9, 0.4, 0.6, 2.0, 1.0),
            ('1', 'theta_merge = 0.4', 23, 3.8, 0.6, 0.7, 1.5, 5.4, 2.6),
            ('1', 'theta_merge = 0.5', 58, 2.7, 1.4, 1.2, 3.4, 11.1, 5.4),
            ('1', 'theta_merge = 0.6', 131, 2.2, 0.6, 1.5, 6.0, 15.3, 8.1),
            ('1', 'mix with NMS', 148, 5.3, 1.1, 1.9, 6.5, 17.2, 9.1),
            ('2', 'local re-clustering', 115, 8.4, 2.0, 5.1, 10.1, 17.5,
             11.6),
            ('3', 'DenseCRF', 61, 18.2, 4.7, 3.5, 9.5, 20.7, 12.0),
            ('3', 'CRM', 71, 18.7, 2.7, 4.7, 13.5, 20.2, 14.1),
            ('3', 'CascadePSP', 101, 15.2, 4.7, 6.0, 15.8, 22.6, 16.4))
    ]


def _table_6a() -> list[dict[str, Any]]:
    return [{'theta_small': value, 'AR_S': small, 's/image': seconds}
            for value, small, seconds in (
                ('0 (no step 2)', 1.9, 0.0), ('1/2,048', 4.3, 6.0),
                ('1/1,024', 5.1, 8.4), ('1/512', 5.1, 10.0))]


def _table_6b() -> list[dict[str, Any]]:
    return [{'theta_cover': value, 'relative change %': change}
            for value, change in (('0.6', 9), ('0.7', 7), ('0.8', 4),
                                  ('0.85', 2), ('0.9', 0), ('0.95', 4),
                                  ('1', 36))]


def _table_7() -> list[dict[str, Any]]:
    head = ('trained at', 'patch', 'step', 'masks/image', *METRICS)
    return [
        dict(zip(head, row)) for row in (
            ('224', '8', '1', 144, 0.8, 1.6, 5.3, 14.7, 7.6),
            ('224', '8', '2', 124, 1.3, 4.1, 7.8, 15.0, 9.4),
            ('224', '8', '3', 105, 3.2, 5.0, 12.6, 20.6, 13.8),
            ('224', '16', '1', 108, 0.8, 1.3, 4.5, 13.0, 6.6),
            ('224', '16', '2', 75, 1.7, 3.5, 6.9, 13.3, 8.3),
            ('224', '16', '3', 65, 4.0, 4.2, 11.3, 17.0, 11.9),
            ('224', '32', '1', 43, 0.6, 0.7, 2.6, 5.8, 3.3),
            ('224', '32', '2', 17, 0.9, 0.3, 2.2, 5.9, 3.0),
            ('224', '32', '3', 14, 1.8, 0.4, 3.4, 6.6, 3.9),
            ('448', '8', '1', 114, 1.0, 1.2, 4.2, 14.6, 6.9),
            ('448', '8', '2', 103, 1.6, 3.1, 6.4, 14.8, 8.5),
            ('448', '8', '3', 82, 3.4, 3.9, 10.8, 19.1, 12.2),
            ('448', '16', '1', 102, 0.8, 1.3, 3.9, 13.1, 6.3),
            ('448', '16', '2', 84, 1.5, 3.8, 6.7, 13.4, 8.3),
            ('448', '16', '3', 71, 3.8, 4.6, 10.8, 17.1, 11.8),
            ('448', '32', '1', 48, 0.7, 0.8, 2.2, 7.1, 3.5),
            ('448', '32', '2', 25, 1.0, 1.1, 2.5, 7.2, 3.7),
            ('448', '32', '3', 20, 2.4, 1.4, 4.1, 8.3, 4.9))
    ]


#: Name of a table -> its title and the paper's rows, on SA-1B.
PAPER = {
    'steps': ('Table 2: steps of Phase 1', _table_2()),
    'theta_small': ('Table 6a: theta_small', _table_6a()),
    'theta_cover': ('Table 6b: theta_cover', _table_6b()),
    'weights': ('Table 7: ViT weights', _table_7()),
}


def to_markdown(tables: dict[str, list[dict[str, Any]]],
                captions: dict[str, str]) -> str:
    """All tables, each with the paper's below it, marked as quoted.

    Args:
        tables (dict): name, a key of :data:`PAPER`, -> rows.
        captions (dict): name -> weights and photos of our rows.

    Returns:
        str: ends with a newline.
    """
    parts = []
    for name, rows in tables.items():
        title, quoted = PAPER[name]
        parts += [f'## {title}', f'Ours: {captions[name]}.',
                  markdown_table(rows),
                  "Quoted from the paper: SA-1B, DINO's ViT-B"
                  f'{"" if name == "weights" else "/8"}.',
                  markdown_table(quoted)]
    return '\n\n'.join(parts) + '\n'


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same columns; one that was not run says why."""
    columns = list(next(row for row in rows if 'not_run' not in row))
    lines = [columns, ['---'] * len(columns)]
    for row in rows:
        cells = [_cell(row.get(column, '')) for column in columns]
        if 'not_run' in row:
            heads = [column for column in columns if column in row]
            # The first sentence; the json has it all.
            reason = row['not_run'].split('. ')[0].replace('|', '/')
            cells[len(heads)] = f'not run: {reason}'
        lines.append(cells)
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    return f'{value:.1f}' if isinstance(value, float) else str(value)
