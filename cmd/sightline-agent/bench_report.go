package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/sightline-edge/sightline/vision/infer"
)

// benchReport is bench's JSON.
type benchReport struct {
	Model       string     `json:"model"`
	Digest      string     `json:"digest"` // of its file
	Input       string     `json:"input"`  // its size, pixels
	Width       int        `json:"width"`  // of the picture, pixels
	Height      int        `json:"height"`
	Cores       int        `json:"cores"`
	Runtime     string     `json:"onnxruntime"`
	Rows        []benchRow `json:"rows"`
	Noise       float64    `json:"noise"`        // by which share the first row differs from itself at the end; -1 unknown
	Others      float64    `json:"others_cores"` // processor time of other programs meanwhile, in cores
	Notes       []string   `json:"notes"`
	Advice      []string   `json:"advice"`
	Interrupted bool       `json:"interrupted,omitempty"`
}

// Limits of what is called quiet.
const (
	quietNoise  = 0.05 // share
	quietOthers = 0.1  // cores
	wildNoise   = 0.3  // share; from here on nothing is advised
)

// noise takes the first row once more.
func (r *benchReport) noise(again benchRow) {
	r.Noise = math.Abs(again.WholeP50/r.Rows[0].WholeP50 - 1)
	r.Others = again.others
	for _, row := range r.Rows {
		r.Others = max(r.Others, row.others)
	}
	if r.Noise > quietNoise {
		r.Notes = append(r.Notes, fmt.Sprintf("the first row took %.2f ms, and %.2f ms at the end: differences below %.0f %% say nothing", r.Rows[0].WholeP50, again.WholeP50, 100*r.Noise))
	}
	if r.Others > quietOthers {
		r.Notes = append(r.Notes, fmt.Sprintf("other programs took up to %.1f of %s meanwhile: on a quiet machine all is faster", r.Others, plural(r.Cores, "core")))
	}
}

// pays is by how much a setting must be better to be worth advising.
const pays = 1.15

// advise says what to set, by the rows.
func advise(r *benchReport) (out []string) {
	sure := max(pays, 1+2*max(r.Noise, 0))
	best, cpu := r.quickest(infer.TensorRT, infer.CUDA, infer.CPU), r.quickest(infer.CPU)
	switch {
	case best == nil:
		return nil
	case r.Noise > wildNoise:
		return []string{"nothing is advised: the machine was too busy to tell rows apart. Measure again when other programs are quiet, or for longer (--seconds)"}
	}
	switch {
	case best == cpu:
		out = append(out, r.threads(sure)...)
	case cpu != nil:
		out = append(out, fmt.Sprintf("infer.provider: %s (a picture takes %.2f ms, on the processor %.2f ms). auto takes the first of tensorrt, cuda, cpu", best.Provider, best.WholeP50, cpu.WholeP50))
	}
	return append(out, r.batches(sure)...)
}

// quickest is the row with runs of one picture in which a picture takes least, among
// those of the providers; nil for none.
func (r *benchReport) quickest(of ...infer.Provider) (best *benchRow) {
	for n := range r.Rows {
		if row := &r.Rows[n]; row.Batch == 1 && slices.Contains(of, row.Provider) && (best == nil || row.WholeP50 < best.WholeP50) {
			best = row
		}
	}
	return best
}

// threads compares rows of the processor: as quick as can be for one camera, or as
// much as can be for many.
func (r *benchReport) threads(sure float64) []string {
	var quick, many *benchRow
	total := func(row *benchRow) float64 { // of as many models at once as have cores of their own
		return row.Rate * float64(max(1, r.Cores/row.Threads))
	}
	for n := range r.Rows {
		row := &r.Rows[n]
		switch {
		case row.Provider != infer.CPU || row.Batch != 1:
			continue
		case quick == nil:
			quick, many = row, row
			continue
		}
		if row.Threads <= r.Cores && quick.WholeP50/row.WholeP50 >= sure {
			quick = row
		}
		if total(row)/total(many) >= sure {
			many = row
		}
	}
	at := max(1, r.Cores/many.Threads)
	all := fmt.Sprintf("infer.threads: %d for as many pictures as possible (%.0f a second on %s", many.Threads, many.Rate, plural(many.Threads, "thread"))
	if at > 1 {
		all += fmt.Sprintf("; %d models run at once, so up to %.0f together", at, total(many))
	}
	all += ")"
	if quick.Threads == many.Threads {
		return []string{all + fmt.Sprintf(", and none measured is surely quicker for one (p99 %.2f ms)", quick.WholeP99)}
	}
	return []string{all, fmt.Sprintf("infer.threads: %d where one picture must be quick (p99 %.2f ms instead of %.2f, for %.1f times the processor time)",
		quick.Threads, quick.WholeP99, many.WholeP99, quick.CPU/many.CPU)}
}

// batches says of each provider whether several pictures in one run pay.
func (r *benchReport) batches(sure float64) (out []string) {
	for _, p := range []infer.Provider{infer.TensorRT, infer.CUDA, infer.CPU} {
		var one, best *benchRow
		for n := range r.Rows {
			row := &r.Rows[n]
			switch {
			case row.Provider != p:
			case row.Batch == 1 && one == nil:
				one = row
			case one != nil && row.Threads == one.Threads && row.Batch > 1 && (best == nil || row.RunP50/float64(row.Batch) < best.RunP50/float64(best.Batch)):
				best = row
			}
		}
		if best == nil {
			continue
		}
		gain := one.RunP50 / (best.RunP50 / float64(best.Batch))
		if gain < sure {
			out = append(out, fmt.Sprintf("several pictures in one run don't pay on %s: at best %d of them, %.2f times as many a second, for %.1f times the wait", p, best.Batch, gain, best.RunP50/one.RunP50))
			continue
		}
		out = append(out, fmt.Sprintf("%d pictures in one run would give %.2f times as many a second on %s, for %.1f times the wait: see infer.batch for cameras that share the model", best.Batch, gain, p, best.RunP50/one.RunP50))
	}
	return out
}

// print writes the report for people, with bars where w is a terminal.
func (r *benchReport) print(w io.Writer) error {
	fmt.Fprintf(w, "%s (%s), input %s, picture %dx%d; %s, ONNX Runtime %s\n\n", r.Model, digest(r.Digest), r.Input, r.Width, r.Height, plural(r.Cores, "core"), cmp.Or(r.Runtime, "unknown"))
	bars := barWidth(w)
	longest := 0.0
	for _, row := range r.Rows {
		longest = max(longest, row.WholeP99)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "provider\tthreads\tbatch\trun p50\tp99\twhole p50\tp99 ms\t/s\tCPU ms\tmemory\t")
	if bars > 0 {
		fmt.Fprint(t, "  whole: ▓ p50 ░ p99")
	}
	fmt.Fprintln(t)
	for _, row := range r.Rows {
		name := string(row.Provider)
		if row.Precision != string(infer.Full) {
			name += " " + row.Precision
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.2f\t%d MB\t", name, row.Threads, row.Batch, row.RunP50, row.RunP99, row.WholeP50, row.WholeP99, row.Rate, row.CPU, row.Memory/1e6)
		if bars > 0 {
			fmt.Fprint(t, "  "+bar(row.WholeP50, row.WholeP99, longest, bars))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, list := range [][]string{r.Advice, r.Notes} {
		if len(list) > 0 {
			fmt.Fprintln(w)
		}
		for _, line := range list {
			fmt.Fprintf(w, "- %s.\n", line)
		}
	}
	return nil
}

// digest is the beginning of a SHA-256.
func digest(s string) string { return s[:min(len(s), 12)] }

// bar draws two lengths, the shorter one full, of at most width cells.
func bar(short, long, longest float64, width int) string {
	cells := func(v float64) int { return max(1, int(math.Round(v/longest*float64(width)))) }
	n := cells(short)
	return strings.Repeat("▓", n) + strings.Repeat("░", max(0, cells(long)-n))
}

// tableWidth is what the table takes without bars, columns.
const tableWidth = 92

// barWidth is how long bars may be, 0 where they have no place.
func barWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns < tableWidth+10 {
		return 0
	}
	return min(columns-tableWidth, 50)
}
