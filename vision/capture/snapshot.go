package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// snapshotReader fetches one picture after another from an address, on one
// connection, as often as Options.Rate says.
type snapshotReader struct {
	ctx    context.Context // ends with the worker, or at Close
	cancel context.CancelFunc
	site   *site
	period time.Duration

	first  *answered // what the address answered when it was opened
	next   time.Time // of the fetch
	good   time.Time // when the last answer was right
	header http.Header
	cut    uint64 // pictures that ended early, since the last whole one
}

// answered is an answer whose body hasn't been read.
type answered struct {
	res    *http.Response
	cancel context.CancelFunc // ends its request
	mono   int64              // when it began to come, ns
}

func newSnapshot(ctx context.Context, s *site, rate float64, first answered) *snapshotReader {
	if rate == 0 {
		rate = 1
	}
	ctx, cancel := context.WithCancel(ctx)
	now := time.Now()
	period := time.Duration(float64(time.Second) / rate)
	return &snapshotReader{ctx: ctx, cancel: cancel, site: s, period: period, first: &first, next: now.Add(period), good: now}
}

// Read waits for the next time and fetches a picture. errNothing: the camera
// says that it has no new one. Answers that can't be used are passed over, until
// none could be for as long as a camera may be silent.
func (r *snapshotReader) Read(room roomFunc) (shot, error) {
	for {
		a := r.first
		r.first = nil
		var err error
		if a == nil {
			a, err = r.fetch()
		}
		var data []byte
		if err == nil {
			data, err = r.body(a)
		}
		switch {
		case err == nil && data == nil:
			r.good = time.Now()
			return shot{}, errNothing
		case err == nil:
			r.good = time.Now()
			s, err := decodeInto(data, room)
			s.Mono, s.Timing, s.incomplete = a.mono, vision.Arrived, r.cut
			r.cut = 0
			return s, err
		case r.ctx.Err() != nil:
			return shot{}, r.ctx.Err()
		case errors.Is(err, errDenied), errors.Is(err, errNoSnapshot), errors.Is(err, errLongPicture), time.Since(r.good) > r.site.wait:
			return shot{}, err
		}
	}
}

// errNoSnapshot is an answer of another kind than the first.
var errNoSnapshot = errors.New("the address doesn't give single pictures any more")

// fetch asks for the next picture when it is time. A fetch that took too long
// isn't made up for.
func (r *snapshotReader) fetch() (*answered, error) {
	if !sleep(r.ctx, time.Until(r.next)) {
		return nil, r.ctx.Err()
	}
	now := time.Now()
	if r.next = r.next.Add(r.period); r.next.Before(now) {
		r.next = now
	}
	ctx, cancel := context.WithCancel(r.ctx)
	slow := time.AfterFunc(r.site.wait, cancel)
	res, err := r.site.ask(ctx, r.header)
	if !slow.Stop() && r.ctx.Err() == nil {
		if err == nil {
			res.Body.Close()
		}
		err = errors.New("the camera doesn't answer: timed out")
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &answered{res, cancel, monotonic()}, nil
}

// body reads a picture, or nothing where there is no new one.
func (r *snapshotReader) body(a *answered) ([]byte, error) {
	defer a.cancel()
	defer a.res.Body.Close()
	if c := a.res.StatusCode; c == http.StatusNotModified || c == http.StatusNoContent {
		return nil, nil
	}
	switch stream, err := checkAnswer(a.res); {
	case err != nil:
		drop(a.res)
		return nil, err
	case stream:
		return nil, errNoSnapshot
	}
	slow := time.AfterFunc(r.site.wait, a.cancel)
	data, err := io.ReadAll(io.LimitReader(a.res.Body, maxJPEG+1))
	switch {
	case !slow.Stop():
		r.cut++
		return nil, fmt.Errorf("the address gives a single picture (%.40s), which doesn't end within %v", a.res.Header.Get("Content-Type"), r.site.wait)
	case len(data) > maxJPEG:
		return nil, errLongPicture
	case err != nil:
		r.cut++
		return nil, fmt.Errorf("the camera's picture ended early: %w", streamEnd(err))
	case len(data) == 0:
		r.cut++
		return nil, errors.New("the camera gives an empty picture")
	}
	r.header = http.Header{}
	for from, to := range map[string]string{"Etag": "If-None-Match", "Last-Modified": "If-Modified-Since"} {
		if v := a.res.Header.Get(from); v != "" {
			r.header.Set(to, v)
		}
	}
	return data, nil
}

// Close ends what is being fetched, and the connection.
func (r *snapshotReader) Close() {
	r.cancel()
	if r.first != nil {
		r.first.cancel()
		r.first.res.Body.Close()
	}
	r.site.client.CloseIdleConnections()
}
