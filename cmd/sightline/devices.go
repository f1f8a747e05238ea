package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/web"
)

// device is what the list needs of the fleet's Device.
type device struct {
	ID, Group, Label string
	Presence, Worst  string
	Since            time.Time
	Certificate      struct {
		NotAfter *time.Time `json:"not_after"`
	}
	Stations []stationAnswer
	Journal  *struct{ Backlog uint64 }
	Last     *struct {
		Verdict  string
		Received time.Time
	}
}

// stationAnswer is what the list needs of one of a device's stations.
type stationAnswer struct {
	Model      string
	Version    string `json:"model_version"`
	Unmeasured string
}

func newDevices() *cobra.Command {
	var asText bool
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "the fleet's devices, and how they are",
		Long: `devices lists the devices of the fleet that you are logged in at. STATE is their
presence and since when, BACKLOG what they have and the fleet hasn't yet. Where MODEL
says unmeasured, a bundle passed its golden pictures, which is no proof on that device.`,
		Example: "  sightline devices\n  sightline devices --json | jq '.devices[] | select(.presence != \"online\").id'",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listDevices(cmd.Context(), cmd.OutOrStdout(), asText)
		},
	}
	cmd.Flags().BoolVar(&asText, "json", false, "tell it as the REST interface does")
	return cmd
}

func listDevices(ctx context.Context, out io.Writer, raw bool) error {
	l, err := loadLogin()
	if err != nil {
		return err
	}
	all, err := pages(ctx, l, "/v1/devices", url.Values{"limit": {"500"}}, "devices", 0)
	if err != nil {
		return err
	}
	if raw {
		return asJSON(out, map[string]any{"devices": all})
	}
	t := table{head: []string{"ID", "GROUP", "LABEL", "STATE", "LAST VERDICT", "BACKLOG", "MODEL", "CERT UNTIL"}}
	for _, text := range all {
		var d device
		if err := json.Unmarshal(text, &d); err != nil {
			return fmt.Errorf("read the fleet's answer: %w", err)
		}
		t.add(deviceRow(&d, time.Now())...)
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "no device has enrolled yet: sightline-fleet token makes a token that lets one in")
		return nil
	}
	return t.write(out)
}

func deviceRow(d *device, now time.Time) []string {
	state := d.Presence + " " + web.Age(now.Sub(d.Since))
	if d.Worst == "warn" || d.Worst == "error" {
		state += ", " + d.Worst
	}
	last, backlog, model, until := "-", "-", "-", "-"
	if d.Last != nil {
		last = d.Last.Verdict + " " + web.Age(now.Sub(d.Last.Received)) + " ago"
	}
	if d.Journal != nil && (d.Presence == "online" || d.Journal.Backlog > 0) {
		backlog = strconv.FormatUint(d.Journal.Backlog, 10)
	}
	for i, st := range d.Stations {
		is := st.Model
		if st.Version != "" {
			is += " " + st.Version
		}
		if i > 0 && is != model {
			model = "several"
			break
		}
		model = is
	}
	if slices.ContainsFunc(d.Stations, func(st stationAnswer) bool { return st.Unmeasured != "" }) {
		model += ", unmeasured"
	}
	if end := d.Certificate.NotAfter; end != nil {
		until = end.Local().Format(time.DateOnly)
	}
	return []string{d.ID, d.Group, d.Label, state, last, backlog, model, until}
}

// pages reads a list page by page, up to so many; 0 for all. The entries are
// as the fleet told them.
func pages(ctx context.Context, l *login, path string, query url.Values, name string, most int) ([]json.RawMessage, error) {
	all := []json.RawMessage{}
	for {
		var page map[string]json.RawMessage
		if err := l.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		var list []json.RawMessage
		var next string
		if err := json.Unmarshal(page[name], &list); err != nil {
			return nil, fmt.Errorf("read the fleet's answer: %w", err)
		}
		if text := page["next"]; text != nil {
			if err := json.Unmarshal(text, &next); err != nil {
				return nil, fmt.Errorf("read the fleet's answer: %w", err)
			}
		}
		all = append(all, list...)
		if most > 0 && len(all) >= most {
			return all[:most], nil
		}
		if next == "" || next == query.Get("cursor") {
			return all, nil
		}
		query.Set("cursor", next)
	}
}
