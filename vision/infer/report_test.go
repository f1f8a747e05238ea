package infer

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// TestReportHoldsNoFrameUp: what a frame's way to the worker needs is free while the
// memory of many processes is read.
func TestReportHoldsNoFrameUp(t *testing.T) {
	p, err := shm.Command{Path: os.Args[0], Env: []string{asWorker + "=worker"}, Log: slog.New(slog.DiscardHandler)}.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(time.Second)
	w := New(Config{})
	w.procs = slices.Repeat([]*shm.Process{p}, 5000)
	told := make(chan Report)
	began := time.Now()
	go func() { told <- w.Report() }()
	for longest := time.Duration(0); ; {
		select {
		case r := <-told:
			if took := time.Since(began); longest > took/2 || r.Memory == 0 {
				t.Errorf("it was held up for %v of the %v in which %d bytes were read", longest, took, r.Memory)
			}
			return
		default:
		}
		asked := time.Now()
		if _, err := w.Up(); err != ErrLoading {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(asked))
	}
}

func TestUp(t *testing.T) {
	w := New(Config{Executable: os.Args[0], Env: []string{asWorker + "=worker"}, Library: library(t), Tensors: true,
		Model: Model{Path: "testdata/tensors_mixed.onnx"}, Log: slog.New(slog.DiscardHandler)})
	if _, err := w.Up(); err != ErrLoading {
		t.Errorf("before its start: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	ready, err := w.Ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if up, err := w.Up(); err != nil || up.Digest != ready.Digest || up.Digest == "" {
		t.Errorf("ready, it is %+v (%v)", up, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := w.Up(); !errors.Is(err, ErrStopped) {
		t.Errorf("after its end: %v", err)
	}
}
