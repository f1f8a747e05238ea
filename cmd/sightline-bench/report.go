package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/sightline-edge/sightline/internal/whole"
)

// load reads the rows of an earlier run; no file is no rows.
func load(file string) ([]Row, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read earlier rows: %w", err)
	}
	var rows []Row
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, fmt.Errorf("read earlier rows of %s: %w; delete the file to start anew", file, err)
	}
	return rows, nil
}

// merge puts new rows in the place of all that their figures had before, those
// that are now left out included, in the order of the figures.
func merge(old, fresh []Row, ran, all []Figure) []Row {
	rows := slices.DeleteFunc(slices.Clone(old), func(r Row) bool {
		return slices.ContainsFunc(ran, func(f Figure) bool { return f.owns(r.ID) })
	})
	rows = append(rows, fresh...)
	place := func(r Row) int {
		i := slices.IndexFunc(all, func(f Figure) bool { return f.owns(r.ID) })
		if i < 0 {
			return len(all)
		}
		return i
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return place(a) - place(b) })
	return rows
}

// save replaces the file as a whole.
func save(file string, rows []Row) error {
	if rows == nil {
		rows = []Row{} // a list without rows, not null
	}
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := whole.Write(file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}

func table(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "id\tours\tbare\tratio\tworst\tgoal\t\tnoise\twhat")
	for _, r := range rows {
		noise := "–"
		if r.Noise > 0 {
			noise = fmt.Sprintf("%.2f", r.Noise)
		}
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%.3f\t%.3f\t%s\t%s\t%s\t%s\n",
			r.ID, r.Ours, r.Bare, r.Ratio, r.Worst, r.Goal, judge(r), noise, r.What)
	}
	return t.Flush()
}
