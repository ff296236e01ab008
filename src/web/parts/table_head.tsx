interface TableHeadProps {
  columns: string[];
  /** Names the last column, of buttons, for those who cannot see what it is. */
  actions?: string;
}

/**
 * Every part of a table says its role: on phones the style sheet makes blocks of them, and WebKit
 * then no longer knows what they are.
 */
export function TableHead({ columns, actions }: TableHeadProps) {
  return (
    <thead role="rowgroup">
      <tr role="row">
        {columns.map((name) => <th key={name} scope="col" role="columnheader">{name}</th>)}
        {actions !== undefined && (
          <th scope="col" role="columnheader">
            <span class="unseen">{actions}</span>
          </th>
        )}
      </tr>
    </thead>
  );
}
