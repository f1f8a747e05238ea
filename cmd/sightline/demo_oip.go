package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/cmd/internal/modelfile"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/models"
	"github.com/sightline-edge/sightline/vision/scene"
)

// What demo --oip shows.
const (
	oipModel    = "drawn-parts"
	oipPictures = 6
	oipApart    = 15 // pictures of the belt from one that is sent to the next
	oipReady    = 30 * time.Second
	oipOverlap  = 0.5 // IoU from which a box is a drawn part's
)

// checkOIP says what doesn't go together with --oip.
func (o *demoOptions) checkOIP(changed func(flag string) bool) error {
	if !o.oip {
		return nil
	}
	for _, flag := range []string{"plc", "rollout", "outage", "kills", "seconds", "speed"} {
		if changed(flag) {
			return cli.Usage("--oip and --%s: one of them; --oip shows %d pictures, without cameras or a fleet", flag, oipPictures)
		}
	}
	return o.check()
}

// oipSummary is the last line of demo --oip --json.
type oipSummary struct {
	Kind     string  `json:"kind"`
	Pictures int     `json:"pictures"`
	Drawn    int     `json:"parts_drawn"`
	Found    int     `json:"parts_found"`
	Millis   float64 `json:"fastest_ms"` // of a request
}

// oipDemo is a client of a served model.
type oipDemo struct {
	out    io.Writer
	client *oip.Client
	spec   infer.Spec
	about  oip.Metadata
}

func (o *demoOptions) runOIP(cmd *cobra.Command) error {
	agent, err := findAgent(o.agent)
	if err != nil {
		return err
	}
	address, err := freeAddress(o.listen)
	if err != nil {
		return err
	}
	d := &oipDemo{out: cmd.OutOrStdout()}
	if o.json {
		d.out = io.Discard
	}
	if d.spec, err = specOf(oipModel); err != nil {
		return err
	}
	if d.client, err = oip.NewClient(oip.ClientConfig{URL: "http://" + address}); err != nil {
		return err
	}
	defer d.client.Close()
	args := []string{"serve", "--model", oipModel, "--addr", address}
	fmt.Fprintf(d.out, "$ sightline-agent %s\n", strings.Join(args, " "))
	server, err := begin("sightline-agent serve", agent, args...)
	if err != nil {
		return err
	}
	sum, err := d.run(cmd.Context(), server, o.seed)
	if err == nil && o.json {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(sum)
	}
	if err == nil && sum.Found == 0 {
		err = errors.New("the served model found none of the drawn parts")
	}
	if errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C
	}
	return errors.Join(err, server.stop())
}

// specOf says how pictures become tensors of a shipped model, and its outputs boxes.
func specOf(name string) (infer.Spec, error) {
	dir, err := models.Open(name)
	if err != nil {
		return infer.Spec{}, err
	}
	m, err := bundle.Read(dir)
	if err != nil {
		return infer.Spec{}, err
	}
	data, err := fs.ReadFile(dir, m.Model.File)
	if err != nil {
		return infer.Spec{}, err
	}
	info, err := infer.Describe(data)
	if err != nil {
		return infer.Spec{}, err
	}
	return info.Spec(modelfile.Options(m.Model))
}

func (d *oipDemo) run(ctx context.Context, server *process, seed uint64) (*oipSummary, error) {
	if err := d.ready(ctx, server); err != nil {
		return nil, err
	}
	var err error
	if d.about, err = d.client.Metadata(ctx, oipModel, ""); err != nil {
		return nil, err
	}
	for _, t := range d.about.Inputs {
		fmt.Fprintf(d.out, "%s takes %s: %s %s\n", d.about.Name, t.Name, t.Datatype, oip.Shape(t.Shape))
	}
	for _, t := range d.about.Outputs {
		fmt.Fprintf(d.out, "%s gives %s: %s %s\n", d.about.Name, t.Name, t.Datatype, oip.Shape(t.Shape))
	}
	belt, err := scene.New(scene.Config{Seed: seed, DefectRate: demoDefects})
	if err != nil {
		return nil, err
	}
	sum := &oipSummary{Kind: "summary", Millis: math.Inf(1)}
	for n := range oipPictures {
		if err := d.show(ctx, belt, (n+1)*oipApart, sum); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(d.out, "%d of the %d drawn parts that were whole in the picture were found; the fastest request took %.1f ms\n", sum.Found, sum.Drawn, sum.Millis)
	fmt.Fprintf(d.out, "other clients do the same: pip install 'tritonclient[http]', or curl; docs/oip.md\n")
	return sum, nil
}

// ready waits until the server answers for the model.
func (d *oipDemo) ready(ctx context.Context, server *process) error {
	ctx, stop := context.WithTimeout(ctx, oipReady)
	defer stop()
	for {
		err := d.client.Ready(ctx, oipModel, "")
		if err == nil {
			return nil
		}
		select {
		case <-server.done:
			return server.failure()
		case <-ctx.Done():
			return fmt.Errorf("wait until the model is served: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// show draws a picture, asks the server what is in it, and prints the boxes.
func (d *oipDemo) show(ctx context.Context, belt *scene.Scene, n int, sum *oipSummary) error {
	frame := belt.NewFrame()
	if err := belt.Frame(n, frame); err != nil {
		return err
	}
	filler := infer.NewFiller(d.spec.Input)
	blob := filler.NewBlob()
	at, err := filler.Fill(blob, frame)
	if err != nil {
		return err
	}
	in := oip.Tensor{Name: d.about.Inputs[0].Name, Datatype: d.about.Inputs[0].Datatype, Shape: d.about.Inputs[0].Shape}
	for _, v := range blob.Data {
		in.Data = binary.LittleEndian.AppendUint32(in.Data, math.Float32bits(v))
	}
	start := time.Now()
	out, err := d.client.Infer(ctx, oipModel, "", []oip.Tensor{in}, nil)
	if err != nil {
		return err
	}
	took := 1e3 * time.Since(start).Seconds()
	seen, err := infer.NewDecoder(d.spec).Decode(floatsOf(out), at, frame.Width, frame.Height)
	if err != nil {
		return err
	}
	sum.Pictures, sum.Millis = sum.Pictures+1, min(sum.Millis, took)
	fmt.Fprintf(d.out, "picture %d, %d×%d: %d bytes there, answered in %.1f ms\n", sum.Pictures, frame.Width, frame.Height, len(in.Data), took)
	for _, b := range seen.Detections {
		fmt.Fprintf(d.out, "  %-10s %.2f  at %4.0f,%-4.0f %3.0f×%.0f\n", b.Label, b.Score, b.Box.X, b.Box.Y, b.Box.W, b.Box.H)
	}
	for _, p := range belt.Truth(n) {
		if p.Clipped != p.Box {
			continue
		}
		sum.Drawn++
		if shows(seen.Detections, p.Box) {
			sum.Found++
		}
	}
	return nil
}

func shows(seen []vision.Detection, part vision.Box) bool {
	for _, s := range seen {
		if s.Box.IoU(part) >= oipOverlap {
			return true
		}
	}
	return false
}

// floatsOf reads tensors of FP32 as the decoder takes them.
func floatsOf(tensors []oip.Tensor) []infer.Output {
	var all []infer.Output
	for _, t := range tensors {
		o := infer.Output{Name: t.Name, Shape: t.Shape}
		for at := 0; at+4 <= len(t.Data); at += 4 {
			o.Data = append(o.Data, math.Float32frombits(binary.LittleEndian.Uint32(t.Data[at:])))
		}
		all = append(all, o)
	}
	return all
}
