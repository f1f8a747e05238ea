package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
)

// installTime is how long verifying and copying a folder's bundles may take.
const installTime = 30 * time.Minute

// maxAnswer bounds what the agent says, in bytes.
const maxAnswer = 1 << 20

// local is the running agent that a command speaks to.
type local struct {
	config, agent string
}

func (l *local) flags(f *pflag.FlagSet) {
	f.StringVar(&l.agent, "agent", "", "address of the agent, as http://127.0.0.1:8080; overrides the configuration")
	f.StringVar(&l.config, "config", "", "configuration of the agent, which has its address")
}

// given is how the person said where the agent is, for a hint what to type.
func (l *local) given() string {
	text := ""
	if l.agent != "" {
		text += " --agent " + quoted(l.agent)
	}
	if l.config != "" {
		text += " --config " + quoted(l.config)
	}
	return text
}

func newUpdate() *cobra.Command {
	var l local
	cmd := &cobra.Command{
		Use:   "update",
		Short: "install signed bundles on this device, or let one switch",
		Long: `update speaks to the agent that runs on this device. What it installs passes the
same checks as what the fleet sends: the signatures below the pinned root, the
golden pictures, and the station's own policy for when it may switch.`,
		Example: `  sightline-agent update install /media/usb
  sightline-agent update approve station1`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	l.flags(cmd.PersistentFlags())
	cmd.AddCommand(&cobra.Command{
		Use:   "install FOLDER",
		Short: "install the bundles of a folder, such as a USB stick's",
		Long: `install takes bundles from a folder that sightline publish --out wrote, with
metadata/ and targets/. Of each bundle that a station follows the newest is taken.
It returns when all is verified and on this device's disk; the page, or GET
/v1/stations, tells how it goes on.`,
		Example: `  sightline-agent update install /media/usb --config /etc/sightline/station.yaml`,
		Args:    one("the folder", "update install /media/usb"),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if err := l.post(cmd.Context(), "/v1/updates", map[string]string{"folder": folder}); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "verified and taken; each station switches when its policy allows it")
			return err
		},
	}, &cobra.Command{
		Use:     "approve STATION",
		Short:   "let a station switch to the bundle that waits for it",
		Example: `  sightline-agent update approve station1`,
		Args:    one("the station", "update approve station1"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := l.post(cmd.Context(), "/v1/stations/"+url.PathEscape(args[0])+"/update/approve", nil); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "approved; it switches between two parts")
			return err
		},
	})
	return cmd
}

// one asks for exactly one argument.
func one(what, example string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return cli.Usage("give %s, as in: sightline-agent %s", what, example)
		}
		return nil
	}
}

// address is where the agent answers.
func (l *local) address() (string, error) {
	if l.agent != "" {
		if u, err := url.Parse(l.agent); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "", cli.Usage("--agent %s: an address is wanted, as http://127.0.0.1:8080", l.agent)
		}
		return strings.TrimSuffix(l.agent, "/"), nil
	}
	listen := config.Default().Listen
	if l.config != "" {
		cfg, err := load(l.config)
		if err != nil {
			return "", err
		}
		listen = cfg.Listen
	}
	return "http://" + listen, nil
}

// post asks the agent to do something.
func (l *local) post(ctx context.Context, path string, in any) error {
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	return l.ask(ctx, http.MethodPost, path, in, nil)
}

// ask sends in, nil for nothing, and reads the answer into out, unless that is nil.
func (l *local) ask(ctx context.Context, method, path string, in, out any) error {
	base, err := l.address()
	if err != nil {
		return err
	}
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return fmt.Errorf("ask the agent at %s: %w", base, err)
	}
	r.Header.Set("Content-Type", "application/json")
	// An answer from elsewhere is none of the agent: it must not look like a success.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("ask the agent: %w: is it running, and is this its address (--config or --agent)?", err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode < 300 && out == nil:
		return nil
	case answer.StatusCode < 300:
		if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(out); err != nil {
			return fmt.Errorf("read the answer of the agent at %s: %w", base, err)
		}
		return nil
	}
	var p struct{ Detail string }
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<16)) // what can't be read has no detail
	_ = json.Unmarshal(text, &p)
	return fmt.Errorf("the agent at %s: %s", base, cmp.Or(p.Detail, answer.Status))
}
