package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stall is how long an HTTP answer may stand still.
const stall = 15 * time.Second

// ErrStill is the error of an answer that stands still.
var ErrStill = fmt.Errorf("the server sends nothing for %s", stall)

// web is the supplier over HTTP, with ranges of bytes.
type web struct {
	p      *Puller
	base   string
	client *http.Client
}

// errLater is the error of an answer that asks to come back, or of a
// connection that broke: nothing is wrong with the bundle.
var errLater = errors.New("try later")

func (w *web) list(ctx context.Context, want *Want) (list []byte, err error) {
	size := int64(want.count()) * sumBytes
	err = w.retry(ctx, func() (moved bool, err error) {
		body, err := w.open(ctx, "pieces", want, 0, size, size)
		if err != nil {
			return false, err
		}
		list = make([]byte, size)
		_, err = io.ReadFull(body, list)
		return false, later(errors.Join(err, body.Close()))
	})
	return list, err
}

func (w *web) supply(ctx context.Context, pt *part) error {
	wrong := 0
	return w.retry(ctx, func() (moved bool, err error) {
		for pt.have.count < pt.want.count() {
			n, err := w.run(ctx, pt, &wrong)
			if moved = moved || n > 0; err != nil {
				return moved, err
			}
		}
		return moved, nil
	})
}

// retry tries again what should be tried later, sooner when it has moved.
func (w *web) retry(ctx context.Context, do func() (moved bool, err error)) error {
	for again := uint(0); ; again = min(again+1, 5) {
		moved, err := do()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errLater) {
			return err
		}
		if moved {
			again = 0
		}
		w.p.cfg.Log.Debug("a bundle's transfer is interrupted", "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jitter(min(leastPatience<<again, mostPatience))):
		}
	}
}

// run gets the first run of missing pieces, and tells how many it kept.
func (w *web) run(ctx context.Context, pt *part, wrong *int) (kept int, err error) {
	want := &pt.want
	first := pt.have.missing(0, want.count())
	end := first
	for end < want.count() && !pt.have.has(end) {
		end++
	}
	from, to := int64(first)*int64(want.Piece), min(int64(end)*int64(want.Piece), want.Length)
	body, err := w.open(ctx, "targets", want, from, to, want.Length)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	buf := make([]byte, want.Piece)
	for i := first; i < end; i++ {
		b := buf[:want.size(i)]
		if _, err := io.ReadFull(body, b); err != nil {
			return kept, later(err)
		}
		err := pt.put(i, b)
		if err == nil {
			err = pt.took(i)
		}
		switch {
		case errors.Is(err, errWrong):
			w.p.count(func(s *Stats) { s.Wrong++ })
			if *wrong++; *wrong > mostWrong {
				return kept, fmt.Errorf("%w: %d of them came, the last: %w", ErrWrong, *wrong, err)
			}
		case err != nil:
			return kept, err
		default:
			kept++
			w.p.count(func(s *Stats) { s.Asked++; s.Bytes += uint64(len(b)) })
		}
	}
	return kept, nil
}

func later(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errLater, err)
}

// open gets the bytes from from to before to of a file that has size bytes.
func (w *web) open(ctx context.Context, what string, want *Want, from, to, size int64) (io.ReadCloser, error) {
	url := w.base + "/v1/updates/" + what + "/" + want.name()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	req.Header.Set("Accept-Encoding", "identity")
	res, err := Do(w.client, req)
	if err != nil {
		return nil, later(err)
	}
	if err := accept(res, from, to, size); err != nil {
		return nil, errors.Join(fmt.Errorf("GET %s: %w", url, err), res.Body.Close())
	}
	return res.Body, nil
}

// accept checks an answer's status and which bytes it has.
func accept(res *http.Response, from, to, size int64) error {
	switch res.StatusCode {
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-%d/%d", from, to-1, size)
		if got := res.Header.Get("Content-Range"); got != want {
			return fmt.Errorf("%w: the answer has %q, expected %q", ErrWrong, got, want)
		}
		return nil
	case http.StatusOK: // a server that knows no ranges sends all of it
		if res.ContentLength >= 0 && res.ContentLength != size {
			return fmt.Errorf("%w: it has %d bytes, expected %d", ErrWrong, res.ContentLength, size)
		}
		_, err := io.CopyN(io.Discard, res.Body, from)
		return later(err)
	case http.StatusNotFound, http.StatusGone:
		return ErrMissing
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return later(errors.New(res.Status))
	case http.StatusRequestedRangeNotSatisfiable:
		_, all, _ := strings.Cut(res.Header.Get("Content-Range"), "/")
		n, _ := strconv.ParseInt(all, 10, 64) // 0 for none
		return fmt.Errorf("%w: it has %d bytes, expected %d", ErrWrong, n, size)
	}
	if res.StatusCode >= 500 {
		return later(errors.New(res.Status))
	}
	return fmt.Errorf("%w: it says %s", ErrRefused, res.Status)
}

// Do sends a request as the client does, for an answer of any length: it is
// given up where it stands still for 15 s, with ErrStill.
func Do(client *http.Client, req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	s := &slow{ctx: ctx, cancel: cancel, timer: time.AfterFunc(stall, func() { cancel(ErrStill) })}
	res, err := client.Do(req.WithContext(ctx))
	if err != nil {
		s.stop()
		return nil, s.why(err)
	}
	s.ReadCloser, res.Body = res.Body, s
	return res, nil
}

// slow is an answer's body that is given up when it stands still.
type slow struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (s *slow) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b)
	s.timer.Reset(stall)
	if err != nil && err != io.EOF {
		err = s.why(err)
	}
	return n, err
}

// why is the error of a request that err ended.
func (s *slow) why(err error) error {
	if errors.Is(context.Cause(s.ctx), ErrStill) {
		return ErrStill
	}
	return err
}

func (s *slow) stop() {
	s.timer.Stop()
	s.cancel(nil)
}

func (s *slow) Close() error {
	s.stop()
	return s.ReadCloser.Close()
}
