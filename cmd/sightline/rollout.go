package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/web"
)

func newRollout() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "bring a signed bundle to a group of devices, wave by wave",
		Long: `rollout brings a published bundle to the devices of a group. Each wave begins when
the devices of the one before have proved that they run the bundle: by a statement
signed with the device's key, and by verdicts that the fleet itself has received.
docs/rollouts.md says what each state means and what stops a rollout.`,
		Example: `  # one device first, then all the others, and watch it
  sightline rollout start caps@1.2.0 --group line1 --waves 1,all --watch

  # how far is the newest one?
  sightline rollout status`,
	}
	cmd.AddCommand(newRolloutStart(), newRolloutStatus(), newRolloutList())
	for _, c := range []struct{ act, short string }{
		{"pause", "send nothing new; devices go on with what they were told"},
		{"resume", "go on with a paused or halted rollout"},
		{"abort", "end a rollout; devices that run the bundle keep it"},
		{"rollback", "have all devices go back to what ran before"},
	} {
		cmd.AddCommand(newRolloutAct(c.act, c.short))
	}
	return cmd
}

// startOptions are the flags of rollout start.
type startOptions struct {
	group, waves, maxFailures, maxSilent string
	verdicts, success                    int
	probation, timeout, silence          time.Duration
	withoutGolden, watch, json           bool
}

func newRolloutStart() *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start BUNDLE[@VERSION]",
		Short: "begin a rollout",
		Long: `start begins a rollout of a published bundle, the newest version unless one is named,
to the devices that are in the group now, those that are connected first.

Waves are numbers of devices or shares of them, as 1,10%,all; a share is rounded up and
the last is all that are left. By default a single device that fails, or is silent for a
day, halts the rollout.`,
		Example: `  sightline rollout start caps --group line1 --waves 1,all --watch
  sightline rollout start caps:1.2.0 --group '*' --waves 1,10%,all --max-failures 2% --verdicts 50 --probation 10m`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), cmd.OutOrStdout(), args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.group, "group", "", "devices of this group; * for all")
	f.StringVar(&o.waves, "waves", "1,all", "how many devices each wave has")
	f.IntVar(&o.verdicts, "verdicts", 0, "that each station must have told by the bundle, 1 to 64; 0 for 20")
	f.DurationVar(&o.probation, "probation", 0, "for which a device watches the bundle after it is active; 0 for the device's own")
	f.DurationVar(&o.timeout, "timeout", 0, "for which a device may be connected and not done, waiting for people left out; 0 for 1h")
	f.DurationVar(&o.silence, "silence", 0, "after which a device that can't be reached is silent; 0 for 24h")
	f.IntVar(&o.success, "success", 0, "percent of a wave's devices, those that failed or are silent left out, that must prove; 0 for 100")
	f.StringVar(&o.maxFailures, "max-failures", "0", "devices that may fail, or their share as 5%; one more halts the rollout")
	f.StringVar(&o.maxSilent, "max-silent", "0", "the same for silent ones")
	f.BoolVar(&o.withoutGolden, "without-golden", false, "allow a bundle without golden pictures")
	f.BoolVar(&o.watch, "watch", false, "show how it goes until its end")
	f.BoolVar(&o.json, "json", false, "tell it as the REST interface does; with --watch at its end")
	return cmd
}

func (o *startOptions) run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return cli.Usage("which bundle? As in: sightline rollout start caps@1.2.0 --group line1")
	}
	if err := cli.Required("group", o.group, "line1"); err != nil {
		return err
	}
	name, version := args[0], ""
	if at := strings.IndexAny(name, "@:"); at >= 0 {
		name, version = name[:at], name[at+1:]
	}
	if name == "" || strings.ContainsAny(name, "/ ") || strings.HasSuffix(name, ".slb") {
		return cli.Usage("%q: name a published bundle, as caps@1.2.0; sightline publish brings a file to the fleet", args[0])
	}
	l, err := loadLogin()
	if err != nil {
		return err
	}
	body := map[string]any{"bundle": name, "group": o.group, "waves": o.waves, "max_failures": o.maxFailures, "max_silent": o.maxSilent}
	for field, v := range map[string]int64{
		"verdicts": int64(o.verdicts), "probation_ms": o.probation.Milliseconds(), "timeout_ms": o.timeout.Milliseconds(),
		"silence_ms": o.silence.Milliseconds(), "success_percent": int64(o.success),
	} {
		if v != 0 {
			body[field] = v
		}
	}
	if version != "" {
		body["version"] = version
	}
	if o.withoutGolden {
		body["without_golden"] = true
	}
	var r rolloutAnswer
	if err := l.call(ctx, http.MethodPost, "/v1/rollouts", body, &r); err != nil {
		return err
	}
	if o.watch {
		return watchRollout(ctx, out, l, r.ID, o.json)
	}
	return r.tell(out, o.json)
}

func newRolloutStatus() *cobra.Command {
	var watch, asText bool
	cmd := &cobra.Command{
		Use:   "status [ID]",
		Short: "how far a rollout is, the newest without an ID",
		Long: `status shows the waves as bars, and each device's state with its reason.
Exit codes: 0, or 1 where the rollout is halted, aborted or rolled back.`,
		Example: "  sightline rollout status --watch\n  sightline rollout status rk3x7q2ab --json | jq '.devices[] | select(.state == \"failed\")'",
		Args:    atMostOneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			l, id, err := rolloutNamed(ctx, args)
			if err != nil {
				return err
			}
			if watch {
				return watchRollout(ctx, out, l, id, asText)
			}
			r, err := askRollout(ctx, l, id)
			if err != nil {
				return err
			}
			if err := r.tell(out, asText); err != nil {
				return err
			}
			return r.code()
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "until its end")
	cmd.Flags().BoolVar(&asText, "json", false, "tell it as the REST interface does; with --watch at its end")
	return cmd
}

func atMostOneID(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return cli.Usage("takes one ID, got %q too", args[1])
	}
	return nil
}

// rolloutNamed is the login and the ID that is given, or the newest rollout's.
func rolloutNamed(ctx context.Context, args []string) (*login, string, error) {
	l, err := loadLogin()
	if err != nil {
		return nil, "", err
	}
	if len(args) > 0 {
		return l, args[0], nil
	}
	var list struct{ Rollouts []rolloutAnswer }
	if err := l.call(ctx, http.MethodGet, "/v1/rollouts?limit=1", nil, &list); err != nil {
		return nil, "", err
	}
	if len(list.Rollouts) == 0 {
		return nil, "", fmt.Errorf("there has been no rollout yet: sightline rollout start begins one")
	}
	return l, list.Rollouts[0].ID, nil
}

func newRolloutList() *cobra.Command {
	var asText bool
	cmd := &cobra.Command{
		Use: "list", Short: "the rollouts, newest first", Args: cli.NoArgs,
		Example: "  sightline rollout list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listRollouts(cmd.Context(), cmd.OutOrStdout(), asText)
		},
	}
	cmd.Flags().BoolVar(&asText, "json", false, "tell it as the REST interface does")
	return cmd
}

func listRollouts(ctx context.Context, out io.Writer, raw bool) error {
	l, err := loadLogin()
	if err != nil {
		return err
	}
	var list struct{ Rollouts []rolloutAnswer }
	if err := l.call(ctx, http.MethodGet, "/v1/rollouts?limit=100", nil, &list); err != nil {
		return err
	}
	if raw {
		return asJSON(out, map[string]any{"rollouts": list.Rollouts})
	}
	if len(list.Rollouts) == 0 {
		fmt.Fprintln(out, "there has been no rollout yet: sightline rollout start begins one")
		return nil
	}
	t := table{head: []string{"ID", "BUNDLE", "GROUP", "STATE", "PROVEN", "BEGUN", "WHY"}}
	for i := range list.Rollouts {
		r := &list.Rollouts[i]
		t.add(r.ID, r.Bundle+" "+r.Version, r.Group, r.State, r.proven(""),
			web.Age(time.Since(r.Created))+" ago by "+r.By, r.Reason)
	}
	return t.write(out)
}

func newRolloutAct(act, short string) *cobra.Command {
	var asText, retry bool
	var why string
	cmd := &cobra.Command{
		Use: act + " ID", Short: short, Args: atMostOneID,
		Example: "  sightline rollout " + act + " rk3x7q2ab",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usage("which rollout? sightline rollout list tells their IDs")
			}
			l, err := loadLogin()
			if err != nil {
				return err
			}
			body := map[string]any{}
			if retry {
				body["retry_failed"] = true
			}
			if why != "" {
				body["reason"] = why
			}
			var r rolloutAnswer
			path := "/v1/rollouts/" + url.PathEscape(args[0]) + "/" + act
			if act == "pause" {
				err = l.call(cmd.Context(), http.MethodPost, path, nil, &r)
			} else {
				err = l.call(cmd.Context(), http.MethodPost, path, body, &r)
			}
			if err != nil {
				return err
			}
			return r.tell(cmd.OutOrStdout(), asText)
		},
	}
	cmd.Flags().BoolVar(&asText, "json", false, "tell it as the REST interface does")
	switch act {
	case "resume":
		cmd.Long = "resume goes on. What failed or was silent so far counts no more, unless it is told to try again."
		cmd.Flags().BoolVar(&retry, "retry-failed", false, "devices that failed or were silent are told once more")
	case "abort", "rollback":
		cmd.Flags().StringVar(&why, "reason", "", "why; it is kept with the rollout")
	}
	return cmd
}

// rolloutAnswer is what the commands need of the fleet's Rollout; raw is all
// of it.
type rolloutAnswer struct {
	raw                        json.RawMessage
	ID, Bundle, Version, Group string
	State, Reason, By          string
	Created                    time.Time
	Wave                       int
	Waves                      []waveAnswer
	Proven                     int `json:"devices_running"`
	Unmeasured                 int `json:"devices_unmeasured"` // of those
	Devices                    []crewAnswer
}

// waveAnswer is the fleet's Wave: Unmeasured are some of Proven.
type waveAnswer struct {
	Size, Proven, Unmeasured, Running, Failed, Silent, Waiting, Away, Planned, Finished, Out int
}

type crewAnswer struct {
	Device, Label, State, Reason, Text, Waits string
	Unmeasured                                string
	Wave                                      int
	Forgiven                                  bool
	Done, Total                               uint64
}

// UnmarshalJSON keeps what it reads.
func (r *rolloutAnswer) UnmarshalJSON(text []byte) error {
	type plain rolloutAnswer
	if err := json.Unmarshal(text, (*plain)(r)); err != nil {
		return err
	}
	r.raw = append(json.RawMessage(nil), text...)
	return nil
}

// MarshalJSON gives what was read.
func (r rolloutAnswer) MarshalJSON() ([]byte, error) { return r.raw, nil }

func askRollout(ctx context.Context, l *login, id string) (*rolloutAnswer, error) {
	r := new(rolloutAnswer)
	if err := l.call(ctx, http.MethodGet, "/v1/rollouts/"+url.PathEscape(id), nil, r); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *rolloutAnswer) counted() (n int) {
	for _, w := range r.Waves {
		n += w.Size - w.Out
	}
	return n
}

// proven says how many devices have proved that they run the bundle, with a word for
// that or none; those where it is unmeasured are told apart.
func (r *rolloutAnswer) proven(word string) string {
	text := strings.TrimSpace(fmt.Sprintf("%d of %d %s", r.Proven-r.Unmeasured, r.counted(), word))
	if r.Unmeasured > 0 {
		text += fmt.Sprintf(", %d unmeasured", r.Unmeasured)
	}
	return text
}

// ended reports whether nothing more happens by itself.
func (r *rolloutAnswer) ended() bool {
	switch r.State {
	case "succeeded", "halted", "aborted", "rolled_back":
		return true
	}
	return false
}

// code is the exit code that the state stands for.
func (r *rolloutAnswer) code() error {
	if r.ended() && r.State != "succeeded" {
		return cli.ErrTold
	}
	return nil
}

// tell writes the whole rollout.
func (r *rolloutAnswer) tell(out io.Writer, raw bool) error {
	if raw {
		return asJSON(out, r)
	}
	_, err := io.WriteString(out, r.draw(0, 0))
	return err
}
