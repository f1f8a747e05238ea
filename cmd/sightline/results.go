package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/sync/wire/rest"
)

const maxResults = 100_000

// resultsOptions are the flags of results.
type resultsOptions struct {
	device, station, verdict, label, part, trigger, recipe string

	limit int
	json  bool
}

func newResults() *cobra.Command {
	var o resultsOptions
	cmd := &cobra.Command{
		Use:   "results",
		Short: "the newest results of the fleet's devices",
		Example: `  sightline results --verdict fail --limit 50
  sightline results --part 4711 --json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.device, "device", "", "only this device's, by its id")
	f.StringVar(&o.station, "station", "", "only this station's")
	f.StringVar(&o.verdict, "verdict", "", "only those told this verdict: pass, fail or none")
	f.StringVar(&o.label, "label", "", "only parts with this label, or with a defect of this label")
	f.StringVar(&o.part, "part", "", "only this part's, by its ID")
	f.StringVar(&o.trigger, "trigger", "", "only what the trigger with this ID asked for")
	f.StringVar(&o.recipe, "recipe", "", "only those inspected under this recipe")
	f.IntVar(&o.limit, "limit", 20, "at most so many")
	f.BoolVar(&o.json, "json", false, "tell it as the REST interface does")
	return cmd
}

func (o *resultsOptions) run(ctx context.Context, out io.Writer) error {
	if o.limit < 1 || o.limit > maxResults {
		return cli.Usage("--limit %d: 1 to %d are possible", o.limit, maxResults)
	}
	o.verdict = strings.ToUpper(o.verdict)
	switch o.verdict {
	case "", "PASS", "FAIL", "NONE":
	default:
		return cli.Usage("--verdict %s: it is pass, fail or none", strings.ToLower(o.verdict))
	}
	l, err := loadLogin()
	if err != nil {
		return err
	}
	query := url.Values{"limit": {strconv.Itoa(min(o.limit, 500))}}
	for name, v := range map[string]string{
		"device": o.device, "station": o.station, "verdict": o.verdict, "label": o.label, "part": o.part, "trigger": o.trigger, "recipe": o.recipe,
	} {
		if v != "" {
			query.Set(name, v)
		}
	}
	all, err := pages(ctx, l, "/v1/results", query, "results", o.limit)
	if err != nil {
		return err
	}
	if o.json {
		return asJSON(out, map[string]any{"results": all})
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "no result fits")
		return nil
	}
	t, err := resultsTable(all)
	if err != nil {
		return err
	}
	return t.write(out)
}

// resultsTable has columns of triggers where some result has one or a recipe.
func resultsTable(all []json.RawMessage) (table, error) {
	type result struct {
		Device   string
		Received time.Time
		rest.Result
	}
	list := make([]result, len(all))
	asked := false
	for i, text := range all {
		if err := json.Unmarshal(text, &list[i]); err != nil {
			return table{}, fmt.Errorf("read the fleet's answer: %w", err)
		}
		asked = asked || list[i].Trigger != "" || list[i].Recipe != ""
	}
	t := table{head: []string{"RECEIVED", "DEVICE", "STATION", "PART", "VERDICT", "WHY"}}
	if asked {
		t.head = []string{"RECEIVED", "DEVICE", "STATION", "TRIGGER", "RECIPE", "ATTEMPT", "PART", "VERDICT", "WHY"}
	}
	for i := range list {
		r := &list[i]
		told := r.Answer()
		row := []string{web.Age(time.Since(r.Received)) + " ago", r.Device, r.Station}
		if asked {
			row = append(row, r.Trigger, r.Recipe, strconv.Itoa(r.Attempt))
		}
		t.add(append(row, r.ID, told.Verdict.String(), told.Reason)...)
	}
	return t, nil
}
