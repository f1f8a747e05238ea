package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
)

// swapOptions is what a person says of a swap.
type swapOptions struct {
	local
	ungated, json bool
}

func newSwap() *cobra.Command {
	var o swapOptions
	cmd := &cobra.Command{
		Use:   "swap STATION [MODEL]",
		Short: "swap another model into a running station",
		Long: `swap speaks to the agent that runs on this device. The model is loaded beside the
running one and must pass the golden pictures that it brings; then it takes over
between two parts, and the former worker ends. Until then, and if anything fails,
the former model goes on. Ctrl-C takes the swap back. One model is loaded and proved
at a time; where TensorRT has no engine for it yet that is built first.

MODEL is an ONNX file, a bundle's folder, or the name of a shipped model. A file or
folder needs allow_unsigned: true at the station. The choice is kept for the next
start, until the configuration names another model. Without MODEL swap tells what
the station has.

A station that follows a signed bundle is changed by "update", one with recipes by
its recipes.`,
		Example: `  sightline-agent swap station1 caps-1.3/ --config station.yaml
  sightline-agent swap station1 --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return cli.Usage("give the station and the model, as in: sightline-agent swap station1 caps-1.3/")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	o.flags(f)
	f.BoolVar(&o.ungated, "ungated", false, "take a model that brings no golden vectors")
	f.BoolVar(&o.json, "json", false, "print the station's model as JSON when it is over")
	return cmd
}

func (o *swapOptions) run(cmd *cobra.Command, args []string) error {
	path := "/v1/stations/" + url.PathEscape(args[0]) + "/model"
	var now api.StationModel
	if len(args) == 1 {
		if err := o.ask(cmd.Context(), http.MethodGet, path, nil, &now); err != nil {
			return err
		}
		return o.print(cmd, &now)
	}
	model := args[1]
	if _, err := os.Stat(model); err == nil {
		if model, err = filepath.Abs(model); err != nil {
			return err
		}
	}
	if err := o.ask(cmd.Context(), http.MethodPut, path, api.SwapAsk{Model: model, Ungated: o.ungated}, &now); err != nil {
		return err
	}
	asked := now.Swap.Asked
	now, err := o.follow(cmd, args[0], path, now)
	if err != nil {
		return err
	}
	if err := o.print(cmd, &now); err != nil {
		return err
	}
	if now.Swap == nil || !now.Swap.Asked.Equal(asked) || now.Swap.Phase != api.SwapDone {
		return cli.ErrTold
	}
	return nil
}

// swapLook is how often swap asks how far it is.
const swapLook = 100 * time.Millisecond

// follow tells how far the swap is until it is over, or another one or none is there. It
// takes it back when the command is ended.
func (o *swapOptions) follow(cmd *cobra.Command, station, path string, now api.StationModel) (api.StationModel, error) {
	asked, told := now.Swap.Asked, api.SwapPhase("")
	tick := time.NewTicker(swapLook)
	defer tick.Stop()
	wait := cli.NewWaiting(cmd.ErrOrStderr())
	defer wait.Done()
	ctx, back := cmd.Context(), cmd.Context().Done()
	for now.Swap != nil && now.Swap.Asked.Equal(asked) && !now.Swap.Phase.Over() {
		if told != now.Swap.Phase && !o.json {
			wait.Done()
			told = now.Swap.Phase
			fmt.Fprintln(cmd.ErrOrStderr(), swapWords[told])
		}
		if b := now.Swap.Building; b != nil {
			wait.Tell(printable(b.Text))
		} else {
			wait.Done()
		}
		select {
		case <-tick.C:
		case <-back:
			back, ctx = nil, context.WithoutCancel(ctx)
			_ = o.ask(ctx, http.MethodDelete, path+"/swap", nil, nil) // it may be over just now, which is seen next
		}
		var newer api.StationModel
		switch err := o.ask(ctx, http.MethodGet, path, nil, &newer); {
		case err == nil:
			now = newer
		case !errors.Is(err, context.Canceled):
			return now, fmt.Errorf("%w; whether the model is swapped in isn't known: ask again with: sightline-agent swap %s%s", err, quoted(station), o.given())
		}
	}
	return now, nil
}

var swapWords = map[api.SwapPhase]string{
	api.SwapWaiting:   "waiting until another model is loaded and proved…",
	api.SwapLoading:   "loading it beside the running one…",
	api.SwapProving:   "running its golden pictures…",
	api.SwapSwitching: "waiting for the parts that are in view…",
}

// print tells what the station has, and how the swap went.
func (o *swapOptions) print(cmd *cobra.Command, m *api.StationModel) error {
	w := cmd.OutOrStdout()
	if s := m.Swap; s != nil && s.Phase == api.SwapDone && s.Text != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), printable(s.Text))
	}
	if o.json {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(m)
	}
	var text strings.Builder
	if s := m.Swap; s != nil {
		text.WriteString(printable(s.Words()) + "\n")
	}
	fmt.Fprintf(&text, "the station inspects with %s, sha256 %.12s…", printable(strings.TrimSpace(m.Model.Name+" "+m.Model.Version)), m.Model.Digest)
	if m.Source != "" {
		fmt.Fprintf(&text, ", from %s", printable(m.Source))
	}
	if m.Configured != m.Source {
		fmt.Fprintf(&text, "; the configuration names %s", printable(m.Configured))
	}
	_, err := fmt.Fprintln(w, text.String())
	return err
}
