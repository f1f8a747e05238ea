package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/shm"
)

// benchCase is one way to run the model.
type benchCase struct {
	Provider infer.Provider `json:"provider"`
	Threads  int            `json:"threads"`
	Batch    int            `json:"batch"` // pictures in a run
}

func (c benchCase) String() string {
	s := string(c.Provider) + ", " + plural(c.Threads, "thread")
	if c.Batch > 1 {
		s += fmt.Sprintf(", %d pictures a run", c.Batch)
	}
	return s
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// benchRow is what was measured of a case; times in ms.
type benchRow struct {
	benchCase
	Precision string  `json:"precision"`
	Samples   int     `json:"samples"` // runs, one at a time
	RunP50    float64 `json:"run_p50_ms"`
	RunP99    float64 `json:"run_p99_ms"`
	WholeP50  float64 `json:"whole_p50_ms"`
	WholeP99  float64 `json:"whole_p99_ms"`
	Rate      float64 `json:"frames_per_second"` // with a second picture under way
	CPU       float64 `json:"cpu_ms"`            // for each picture
	Memory    int64   `json:"memory_bytes"`

	others float64 // processor time of other programs, in cores
	info   infer.Info
}

// bench measures a model.
type bench struct {
	choice   *choice
	programs programs
	frame    vision.Frame
	seconds  float64
	wait     *cli.Waiting
	log      *slog.Logger
}

// benchFrame is the picture that the model looks at.
func benchFrame(path string) (vision.Frame, error) {
	if path == "" {
		f := vision.Frame{Width: 1280, Height: 720, Stride: 3 * 1280, Format: vision.BGR24}
		f.Pix = bytes.Repeat([]byte{96}, f.Stride*f.Height)
		return f, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return vision.Frame{}, fmt.Errorf("read the picture: %w", err)
	}
	f, err := picture.Decode(data, func(w, h int) ([]byte, error) { return make([]byte, 3*w*h), nil })
	if err != nil {
		return f, fmt.Errorf("read the picture %s: %w", path, err)
	}
	return f, nil
}

// one measures a case in a process of its own.
func (b *bench) one(ctx context.Context, c benchCase, place string) (row benchRow, err error) {
	b.wait.Tell(fmt.Sprintf("measuring %s (%s)", c, place))
	cfg := b.programs.worker(b.choice, b.choice.stationSpec(), c.Threads, b.log)
	cfg.Provider, cfg.Batch = c.Provider, c.Batch
	w := infer.New(cfg)
	pool, err := shm.NewPool(1, 2, len(b.frame.Pix))
	if err != nil {
		return row, err
	}
	defer pool.Release()
	for slot := range 2 {
		copy(pool.Slot(slot), b.frame.Pix)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		stop()
		if werr := <-ended; werr != nil && !errors.Is(err, werr) {
			err = errors.Join(err, werr)
		}
	}()
	l := &lap{worker: w, frame: b.frame, pool: pool}
	l.frame.Pix = nil
	if row.info, err = w.Ready(ctx); err != nil {
		return row, err
	}
	if err = l.alone(ctx, 0); err != nil { // caches fill, clocks rise
		return row, err
	}
	l.runs, l.wholes = nil, nil
	half := time.Duration(b.seconds / 2 * float64(time.Second))
	busy, began, used := busyTime(), time.Now(), w.CPU()+ownCPU()
	if err = l.alone(ctx, half); err != nil {
		return row, err
	}
	n, err := l.together(ctx, half)
	if err != nil {
		return row, err
	}
	took := time.Since(began).Seconds()
	mine := w.CPU() + ownCPU() - used
	row.benchCase, row.Precision, row.Samples = c, row.info.Precision, len(l.runs)
	row.RunP50, row.RunP99 = ranks(l.runs)
	row.WholeP50, row.WholeP99 = ranks(l.wholes)
	row.Rate, row.CPU = n*float64(c.Batch), mine.Seconds()*1e3/float64(l.count*c.Batch)
	row.Memory = w.PSS()
	row.others = max(0, (busyTime()-busy-mine).Seconds()/took)
	return row, nil
}

// lap gives a worker one frame again and again.
type lap struct {
	worker       *infer.Worker
	frame        vision.Frame
	pool         *shm.Pool
	runs, wholes []float64 // ms
	count        int       // frames
}

// leastRuns are made however long they take.
const leastRuns = 10

// alone runs one frame at a time.
func (l *lap) alone(ctx context.Context, long time.Duration) error {
	for began := time.Now(); time.Since(began) < long || len(l.runs) < leastRuns; {
		start := time.Now()
		r, err := l.worker.Infer(ctx, &l.frame, l.pool, 0)
		if err != nil {
			return err
		}
		l.wholes = append(l.wholes, time.Since(start).Seconds()*1e3)
		l.runs = append(l.runs, r.Run.Seconds()*1e3)
	}
	l.count = len(l.runs)
	return nil
}

// together keeps two frames under way and gives runs a second.
func (l *lap) together(ctx context.Context, long time.Duration) (float64, error) {
	var counts [2]int
	var g errgroup.Group
	began := time.Now()
	for slot := range counts {
		g.Go(func() error {
			for time.Since(began) < long || counts[slot] < leastRuns/2 {
				if _, err := l.worker.Infer(ctx, &l.frame, l.pool, slot); err != nil {
					return err
				}
				counts[slot]++
			}
			return nil
		})
	}
	err := g.Wait()
	l.count += counts[0] + counts[1]
	return float64(counts[0]+counts[1]) / time.Since(began).Seconds(), err
}

// ranks gives the median, and what 99 of 100 keep below; of fewer than 100 the longest.
func ranks(ms []float64) (p50, p99 float64) {
	s := slices.Sorted(slices.Values(ms))
	return s[(len(s)-1)/2], s[(len(s)*99+99)/100-1]
}

// busyTime is the processor time of all programs since the machine's start, 0 where
// Linux doesn't tell.
func busyTime() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return busyOf(string(line))
}

// busyOf reads the first line of proc_stat(5): user, nice, system, idle, iowait, irq,
// softirq, steal, in hundredths of a second.
func busyOf(line string) (busy time.Duration) {
	fields := bytes.Fields([]byte(line))
	for n, f := range fields {
		if n == 0 || n == 4 || n == 5 || n > 8 { // the name, idle, waiting; guests count as user
			continue
		}
		ticks, err := strconv.ParseInt(string(f), 10, 50)
		if err != nil {
			return 0
		}
		busy += time.Duration(ticks) * 10 * time.Millisecond
	}
	return busy
}
