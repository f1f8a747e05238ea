//go:build cgo && gocv

package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"gocv.io/x/gocv"

	"github.com/sightline-edge/sightline/vision"
)

// openDevice opens a V4L2 device. What is asked of it is first held against what
// it offers, and read back afterwards: drivers take the nearest silently.
func openDevice(o order) (reader, opened, error) {
	want, err := agree(o.At, o.Options)
	if err != nil {
		return nil, opened{}, err
	}
	var what any = o.At
	if n, err := strconv.Atoi(strings.TrimPrefix(o.At, "/dev/video")); err == nil {
		what = n
	}
	vc, err := gocv.OpenVideoCaptureWithAPI(what, gocv.VideoCaptureV4L2)
	if err != nil {
		return nil, opened{}, errors.New("the device gives no video in a format that can be decoded, or another program is using it; " + want.offers)
	}
	gray := want.fourcc == "GREY"
	if want.fourcc != "" {
		vc.Set(gocv.VideoCaptureFOURCC, float64(fourCCCode(want.fourcc)))
	}
	if gray {
		vc.Set(gocv.VideoCaptureConvertRGB, 0)
	}
	if want.w > 0 {
		vc.Set(gocv.VideoCaptureFrameWidth, float64(want.w))
		vc.Set(gocv.VideoCaptureFrameHeight, float64(want.h))
	}
	if want.rate > 0 {
		vc.Set(gocv.VideoCaptureFPS, want.rate)
	}
	if err := want.got(vc); err != nil {
		_ = vc.Close() // nothing was read
		return nil, opened{}, err
	}
	video, desc := newVideoReader(vc, "v4l2")
	return &deviceReader{videoReader: video, gray: gray, node: o.At, lit: lit{doubt: v4l2Doubt, now: o.Options.Exposure}}, desc, nil
}

// wish is what a device was asked for, the zero value of each left to it.
type wish struct {
	fourcc string
	w, h   int // pixels
	rate   float64
	offers string // for errors
}

// agree asks the device whether it offers what is wanted, and sets its exposure.
func agree(node string, o Options) (wish, error) {
	v, err := openV4L2(node)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return wish{}, bare(err)
		}
		return wish{}, errors.New(problemOf(err))
	}
	defer v.close()
	c, err := v.capability()
	if err != nil {
		return wish{}, err
	}
	if !c.captures() {
		return wish{}, fmt.Errorf("it gives no pictures (%s, %s): it is for metadata, or converts", cText(c.Card[:]), cText(c.Driver[:]))
	}
	list, err := v.offers()
	if err != nil {
		return wish{}, fmt.Errorf("ask what it offers: %w", err)
	}
	fourcc, w, h, err := v.format()
	if err != nil {
		return wish{}, fmt.Errorf("ask how it is set: %w", err)
	}
	// OpenCV takes 640x480 unless it is told.
	want := wish{fourcc: strings.ToUpper(o.Format), w: cmp.Or(o.Width, w), h: cmp.Or(o.Height, h), rate: o.Rate,
		offers: "it offers " + strings.Join(list, ", ")}
	if want.fourcc == "" && fourcc == "GREY" {
		want.fourcc = fourcc
	}
	if err := want.offered(v, cmp.Or(want.fourcc, fourcc), o); err != nil {
		return want, err
	}
	if o.Exposure > 0 {
		return want, v.setExposure(o.Exposure)
	}
	return want, nil
}

// offered holds a wish against the device's lists. A device without lists is
// only read back.
func (want wish) offered(v *v4l2, fourcc string, o Options) error {
	formats, err := v.formats()
	if err != nil {
		return fmt.Errorf("format: %w", err)
	}
	if err := formatOffered(formats, want.fourcc, want.offers); err != nil {
		return err
	}
	if o.Width > 0 {
		sizes, err := v.sizes(fourcc)
		if err != nil {
			return fmt.Errorf("size: %w", err)
		}
		if len(sizes) > 0 && !sizes.has(want.w, want.h) {
			return fmt.Errorf("size %dx%d: in %s the device hasn't got it; %s", want.w, want.h, fourcc, want.offers)
		}
	}
	if o.Rate > 0 {
		rates, err := v.rates(fourcc, want.w, want.h)
		if err != nil {
			return fmt.Errorf("rate: %w", err)
		}
		if len(rates) > 0 && !rates.has(want.rate) {
			return fmt.Errorf("rate %.4g: in %s at %dx%d the device gives %s a second", want.rate, fourcc, want.w, want.h, rates)
		}
	}
	return nil
}

// got reads back what the driver took.
func (want wish) got(vc *gocv.VideoCapture) error {
	fourcc := fourCC(vc.Get(gocv.VideoCaptureFOURCC))
	w, h := int(vc.Get(gocv.VideoCaptureFrameWidth)), int(vc.Get(gocv.VideoCaptureFrameHeight))
	rate := vc.Get(gocv.VideoCaptureFPS)
	switch {
	case want.fourcc != "" && !strings.EqualFold(fourcc, want.fourcc):
		return fmt.Errorf("format %s: the device took %s instead; %s", want.fourcc, fourcc, want.offers)
	case want.w > 0 && (w != want.w || h != want.h):
		return fmt.Errorf("size %dx%d: the device took %dx%d instead; %s", want.w, want.h, w, h, want.offers)
	case want.rate > 0 && math.Abs(rate-want.rate) > rateSlack*want.rate:
		return fmt.Errorf("rate %.4g: the device took %.4g instead", want.rate, rate)
	}
	return nil
}

// deviceReader reads a V4L2 device.
type deviceReader struct {
	*videoReader
	gray bool // GREY is handed on as it is
	node string
	lit  lit
}

// v4l2Doubt is how many pictures after a change of the exposure may be of before: a
// sensor's settings run one or two pictures ahead, and the driver says nothing of it.
const v4l2Doubt = 3

// Expose sets the exposure, beside the pictures that are read.
func (r *deviceReader) Expose(d time.Duration, woe func(error)) {
	if err := r.lit.change(d, func() error { return exposeNode(r.node, d) }); err != nil {
		woe(err)
	}
}

// stampMost is the age to which a buffer's time stamp is believed; some drivers
// take another clock than CLOCK_MONOTONIC.
const stampMost = 2 * time.Second

// Read fetches the next picture. The driver tells when its first bytes came.
func (r *deviceReader) Read(room roomFunc) (shot, error) {
	read := r.videoReader.Read
	if r.gray {
		read = r.readGray
	}
	s, err := read(room)
	if err != nil {
		return s, err
	}
	stamp := int64(r.vc.Get(gocv.VideoCapturePosMsec) * 1e6)
	s.Timing = vision.Read
	if ago := s.Mono - stamp; stamp > 0 && ago >= 0 && ago < int64(stampMost) {
		s.Mono, s.Timing = stamp, vision.Arrived
	}
	s.Exposure = r.lit.of(s.Mono)
	return s, nil
}

// readGray decodes into the room itself, 1 byte a pixel.
func (r *deviceReader) readGray(room roomFunc) (shot, error) {
	mem, err := room(r.w * r.h)
	if err != nil {
		return shot{}, err
	}
	m := &r.scratch
	if mem != nil {
		laid, err := gocv.NewMatFromBytes(r.h, r.w, gocv.MatTypeCV8UC1, mem[:r.w*r.h])
		if err != nil {
			return shot{}, fmt.Errorf("lay a picture of %dx%d: %w", r.w, r.h, err)
		}
		defer laid.Close()
		m = &laid
	}
	if !r.vc.Read(m) || m.Empty() {
		return shot{}, errStopped
	}
	s := shot{taken: taken{Mono: monotonic(), Width: m.Cols(), Height: m.Rows(), Gray: true}, empty: mem == nil}
	if s.Width != r.w || s.Height != r.h || m.Type() != gocv.MatTypeCV8UC1 {
		return s, fmt.Errorf("the device changed its pictures to %dx%d with %d channels", s.Width, s.Height, m.Channels())
	}
	if data, err := m.DataPtrUint8(); err != nil {
		return s, fmt.Errorf("a decoded picture: %w", err)
	} else if mem != nil && &data[0] != &mem[0] {
		copy(mem, data)
	}
	return s, nil
}
