package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// comeBack is after what time a reader that was cut asks again.
const comeBack = 500 * time.Millisecond

// reader reads the fleet's results of one device from its events, as a page
// or a program would that shows each. One that is cut because it doesn't keep
// up comes back, and gets the newest.
type reader struct {
	url, token string
	epoch      []byte // of the results that count, as they have it

	mu   sync.Mutex // protects what follows
	seen []seen
	cuts int
	open bool
}

// seen is that a result, and so all before it, was there to be shown.
type seen struct {
	seq uint64
	at  time.Time
}

// run reads until ctx ends.
func (r *reader) run(ctx context.Context) error {
	last := ""
	for {
		err := r.read(ctx, &last)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.cuts++
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(comeBack):
		}
	}
}

// read is one stream, from the event after last, until it ends.
func (r *reader) read(ctx context.Context, last *string) error {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return err
	}
	ask.Header.Set("Authorization", "Bearer "+r.token)
	if *last != "" {
		ask.Header.Set("Last-Event-ID", *last)
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return fmt.Errorf("read the fleet's events: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("read the fleet's events: %s", answer.Status)
	}
	r.mu.Lock()
	r.open = true
	r.mu.Unlock()
	lines := bufio.NewReaderSize(answer.Body, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read the fleet's events: %w", err)
		}
		if err != nil {
			return nil // cut
		}
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			*last = string(bytes.TrimSpace(id))
		} else if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			r.note(data, time.Now())
		}
	}
}

// note takes the number out of a result; a whole JSON decoder for each of
// 100,000 would be most of what is measured.
func (r *reader) note(data []byte, at time.Time) {
	_, rest, ok := bytes.Cut(data, []byte(`"seq":`))
	if !ok || !bytes.Contains(data, r.epoch) {
		return
	}
	digits, _, _ := bytes.Cut(rest, []byte(","))
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.seen); n == 0 || seq > r.seen[n-1].seq {
		r.seen = append(r.seen, seen{seq, at})
	}
}

func (r *reader) listens() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// newest is the highest number that was seen.
func (r *reader) newest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		return 0
	}
	return r.seen[len(r.seen)-1].seq
}

// latencies are the times from when each of the numbers, which ascend, came
// to be until it was seen, in milliseconds.
func (r *reader) latencies(born []seen) (ms []float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := 0
	for _, b := range born {
		for i < len(r.seen) && r.seen[i].seq < b.seq {
			i++
		}
		if i < len(r.seen) {
			ms = append(ms, milliseconds(r.seen[i].at.Sub(b.at)))
		}
	}
	return ms
}
