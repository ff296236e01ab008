interface TableHeadProps {
  columns: string[];
  /** Names the last column, of buttons, for those who cannot see what it is. */
  actions?: string;
}

export function TableHead({ columns, actions }: TableHeadProps) {
  return (
    <thead>
      <tr>
        {columns.map((name) => <th key={name} scope="col">{name}</th>)}
        {actions !== undefined && (
          <th scope="col">
            <span class="unseen">{actions}</span>
          </th>
        )}
      </tr>
    </thead>
  );
}
