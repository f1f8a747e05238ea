package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf16"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/internal/web"
)

const eventsDoc = "Server-sent events. `result`: a result as it was told; its id is its number, so that a reader that comes back with " +
	"Last-Event-ID gets what it missed; so does one that is too slow. Results that were told without being recorded have no id and don't " +
	"come again. `health`: the warnings, at first and when they change."

const liveDoc = "A stream of JPEGs. Each part's header Sightline-Overlay is JSON: the frame's number, its width and height in pixels, " +
	"and the boxes of parts and defects in it. A slow viewer gets fewer pictures."

// Pace of streams.
const (
	lookEvery   = time.Second      // at the warnings
	beatEvery   = 15 * time.Second // something is sent, so that a dead peer is noticed
	replayChunk = 100              // results
	pictureTime = 3 * time.Second
)

type eventsInput struct {
	LastID string `header:"Last-Event-ID" maxLength:"32" doc:"number of the newest result that the reader has; without: from now on"`
}

func (s *Server) events(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	last, err := s.lastEvent(ctx, in.LastID)
	if err != nil {
		return nil, err
	}
	leave, err := enter(&s.readers, maxReaders, "streams of events")
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		ctx, cancel := context.WithCancel(hc.Context())
		defer cancel()
		_, lost := s.source.Health()
		e := eventStream{out: newPieces(hc, "text/event-stream"), server: s, sent: last, lost: lost}
		live := s.source.Subscribe(ctx) // before the replay, so that nothing falls between
		e.replay(ctx)
		e.run(ctx, live)
	}}, nil
}

// lastEvent is the number after which a reader wants results: what it says, or
// the newest of all.
func (s *Server) lastEvent(ctx context.Context, said string) (uint64, error) {
	if said != "" {
		last, err := strconv.ParseUint(said, 10, 64)
		if err != nil {
			return 0, huma.Error422UnprocessableEntity("Last-Event-ID must be the number of a result, got " + strconv.Quote(said))
		}
		return last, nil
	}
	newest, _, err := s.page(ctx, Query{Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return newest[0].Seq, nil
}

// eventStream is one reader of events.
type eventStream struct {
	out     *web.Pieces
	server  *Server
	sent    uint64 // highest number that was sent
	covered uint64 // up to this number a replay has sent all
	lost    uint64 // what the source had lost when it was last looked at
	health  []byte // the warnings as they were last sent
}

// run sends what comes until the reader goes.
func (e *eventStream) run(ctx context.Context, live <-chan Result) {
	look, beat := time.NewTicker(lookEvery), time.NewTicker(beatEvery)
	defer look.Stop()
	defer beat.Stop()
	e.look(ctx)
	for e.out.Err == nil {
		select {
		case <-ctx.Done():
			return
		case r, ok := <-live:
			if !ok {
				return
			}
			if r.Seq == 0 || r.Seq > e.covered {
				e.result(&r)
			}
		case <-look.C:
			e.look(ctx)
		case <-beat.C:
			e.out.Write([]byte(": still here\n\n"))
		}
	}
}

func (e *eventStream) result(r *Result) {
	e.server.addPicture(r)
	id := ""
	if r.Seq != 0 {
		e.sent = max(e.sent, r.Seq)
		id = fmt.Sprintf("id: %d\n", e.sent)
	}
	e.send(id+"event: result\n", r)
}

// look sends the warnings if they have changed, and what a slow reader lost.
func (e *eventStream) look(ctx context.Context) {
	warnings, lost := e.server.source.Health()
	if b, err := json.Marshal(warnings); err == nil && !bytes.Equal(b, e.health) {
		e.health = b
		e.send("event: health\n", warnings)
	}
	if lost > e.lost { // perhaps another reader's, then the replay is empty
		e.lost = lost
		e.replay(ctx)
	}
}

// replay sends recorded results after the last one that was sent.
func (e *eventStream) replay(ctx context.Context) {
	e.covered = e.sent
	for e.out.Err == nil {
		results, err := e.server.source.Since(ctx, e.covered, replayChunk)
		if err != nil {
			e.server.log.Warn("replay results", "err", err)
			return
		}
		for i := range results {
			e.result(&results[i])
			e.covered = max(e.covered, results[i].Seq)
		}
		if len(results) < replayChunk {
			return
		}
	}
}

func (e *eventStream) send(head string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		e.server.log.Error("encode an event", "err", err)
		return
	}
	e.out.Write(fmt.Appendf(nil, "%sdata: %s\n\n", head, b))
}

// newPieces begins an answer that comes piece by piece.
func newPieces(hc huma.Context, contentType string) *web.Pieces {
	_, w := humago.Unwrap(hc)
	return web.NewPieces(w, contentType)
}

// enter counts a stream in, and refuses one too many.
func enter(open *atomic.Int64, most int64, what string) (leave func(), err error) {
	if open.Add(1) > most {
		open.Add(-1)
		return nil, huma.ErrorWithHeaders(
			huma.Error503ServiceUnavailable(fmt.Sprintf("%d %s are open, that is all this device serves: close one, or try again later", most, what)),
			http.Header{"Retry-After": {"5"}})
	}
	return func() { open.Add(-1) }, nil
}

func (s *Server) live(ctx context.Context, in *liveInput) (*huma.StreamResponse, error) {
	st := station(s.source.Now().Stations, in.Station)
	if st == nil {
		return nil, huma.Error404NotFound("there is no station " + strconv.Quote(in.Station))
	}
	if in.Camera != "" && !slices.ContainsFunc(st.Views, func(v View) bool { return v.Camera == in.Camera }) {
		return nil, huma.Error404NotFound("the station has no camera " + strconv.Quote(in.Camera))
	}
	leave, err := enter(&s.viewers, maxViewers, "live pictures")
	if err != nil {
		return nil, err
	}
	return pictures(leave, func(ctx context.Context, after uint64) (*Shot, error) {
		return s.source.Live(ctx, in.Station, in.Camera, after)
	}), nil
}

// pictures streams what next gives until it fails or the viewer leaves.
func pictures(leave func(), next func(ctx context.Context, after uint64) (*Shot, error)) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		out := newPieces(hc, "multipart/x-mixed-replace; boundary=frame")
		var after uint64
		for out.Err == nil {
			ctx, cancel := context.WithTimeout(hc.Context(), beatEvery)
			shot, err := next(ctx, after)
			cancel()
			switch {
			case err == nil:
				after = shot.Seq
				out.Write(part(shot))
			case errors.Is(err, context.DeadlineExceeded) && hc.Context().Err() == nil:
				out.Write([]byte("\r\n")) // between parts, to notice a dead peer
			default:
				return
			}
		}
	}}
}

type liveInput struct {
	Station string `path:"station" maxLength:"64" doc:"name of the station"`
	Camera  string `query:"camera" maxLength:"64" doc:"name of one of its cameras; its first without"`
}

// overlay is what the header of a live picture says.
type overlay struct {
	Seq     uint64 `json:"seq"`
	Width   int    `json:"width"`
	Height  int    `json:"height"`
	Parts   []Mark `json:"parts"`
	Defects []Mark `json:"defects"`
}

// maxMarks of each kind are told with a live picture.
const maxMarks = 100

// part is a live picture as a part of the stream.
func part(shot *Shot) []byte {
	o := overlay{Seq: shot.Seq, Width: shot.Width, Height: shot.Height, Parts: []Mark{}, Defects: []Mark{}}
	o.Parts = append(o.Parts, shot.Marks.Parts[:min(len(shot.Marks.Parts), maxMarks)]...)
	o.Defects = append(o.Defects, shot.Marks.Defects[:min(len(shot.Marks.Defects), maxMarks)]...)
	b, err := json.Marshal(o)
	if err != nil {
		b = []byte("null") // a score that is no number; the picture is still good
	}
	head := fmt.Appendf(nil, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\nSightline-Overlay: %s\r\n\r\n", len(shot.JPEG), ascii(b))
	return append(append(head, shot.JPEG...), '\r', '\n')
}

// ascii writes JSON without letters that a header can't hold.
func ascii(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		switch {
		case r < 0x80:
			out = append(out, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func (s *Server) nextPicture(ctx context.Context, in *liveInput) (*huma.StreamResponse, error) {
	leave, err := enter(&s.viewers, maxViewers, "live pictures")
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, pictureTime)
	defer cancel()
	shot, err := s.source.Live(ctx, in.Station, in.Camera, 0)
	switch {
	case errors.Is(err, ErrNoStation):
		return nil, huma.Error404NotFound("there is no station " + strconv.Quote(in.Station))
	case errors.Is(err, ErrNoCamera):
		return nil, huma.Error404NotFound("the station has no camera " + strconv.Quote(in.Camera))
	case err != nil:
		return nil, huma.Error503ServiceUnavailable("the station gave no picture in three seconds")
	}
	return jpegBody(shot.JPEG, "no-store"), nil
}

type partInput struct {
	Part string `path:"part" maxLength:"200" doc:"the part's ID"`
}

func (s *Server) partPicture(_ context.Context, in *partInput) (*huma.StreamResponse, error) {
	p, ok := s.source.Picture(in.Part)
	if !ok {
		return nil, huma.Error404NotFound("the device has no picture of part " + strconv.Quote(in.Part) + " any more")
	}
	return jpegBody(p.JPEG, "private, max-age=3600"), nil
}

func jpegBody(b []byte, cache string) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "image/jpeg")
		hc.SetHeader("Content-Length", strconv.Itoa(len(b)))
		hc.SetHeader("Cache-Control", cache)
		_, _ = hc.BodyWriter().Write(b) // a reader that has gone needs nothing more
	}}
}
