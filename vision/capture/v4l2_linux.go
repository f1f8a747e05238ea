package capture

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's Video for Linux API as linux/videodev2.h lays it out, for what
// OpenCV doesn't tell: what a device offers, and its exposure. Names are those
// of the Media Infrastructure userspace API documentation.

type v4l2Capability struct { // struct v4l2_capability
	Driver                            [16]byte
	Card, BusInfo                     [32]byte
	Version, Capabilities, DeviceCaps uint32
	_                                 [3]uint32
}

type v4l2FmtDesc struct { // struct v4l2_fmtdesc
	Index, Type, Flags    uint32
	Description           [32]byte
	PixelFormat, MbusCode uint32
	_                     [3]uint32
}

type v4l2Format struct { // struct v4l2_format with its v4l2_pix_format
	Type                       uint32
	_                          [unsafe.Sizeof(uintptr(0)) - 4]byte // the union holds pointers
	Width, Height, PixelFormat uint32
	_                          [200 - 12]byte
}

type v4l2FrameSize struct { // struct v4l2_frmsizeenum; a discrete size is in the first two
	Index, PixelFormat, Type         uint32
	MinWidth, MaxWidth, StepWidth    uint32
	MinHeight, MaxHeight, StepHeight uint32
	_                                [2]uint32
}

type v4l2FrameInterval struct { // struct v4l2_frmivalenum; a discrete interval is in Min
	Index, PixelFormat, Width, Height, Type uint32
	Min, Max, Step                          v4l2Fraction
	_                                       [2]uint32
}

type v4l2Fraction struct{ Numerator, Denominator uint32 } // struct v4l2_fract, s

type v4l2Control struct { // struct v4l2_control
	ID    uint32
	Value int32
}

type v4l2QueryCtrl struct { // struct v4l2_queryctrl
	ID, Type                    uint32
	Name                        [32]byte
	Minimum, Maximum, Step, Def int32
	Flags                       uint32
	_                           [2]uint32
}

// iowr and ior are the kernel's _IOWR('V', …) and _IOR('V', …).
func iowr(number uint8, size uintptr) uint { return 3<<30 | uint(size)<<16 | 'V'<<8 | uint(number) }
func ior(number uint8, size uintptr) uint  { return 2<<30 | uint(size)<<16 | 'V'<<8 | uint(number) }

var (
	vidiocQueryCap           = ior(0, unsafe.Sizeof(v4l2Capability{}))
	vidiocEnumFmt            = iowr(2, unsafe.Sizeof(v4l2FmtDesc{}))
	vidiocGFmt               = iowr(4, unsafe.Sizeof(v4l2Format{}))
	vidiocGCtrl              = iowr(27, unsafe.Sizeof(v4l2Control{}))
	vidiocSCtrl              = iowr(28, unsafe.Sizeof(v4l2Control{}))
	vidiocQueryCtrl          = iowr(36, unsafe.Sizeof(v4l2QueryCtrl{}))
	vidiocEnumFrameSizes     = iowr(74, unsafe.Sizeof(v4l2FrameSize{}))
	vidiocEnumFrameIntervals = iowr(75, unsafe.Sizeof(v4l2FrameInterval{}))
)

const (
	capVideoCapture       = 0x0000_0001 // V4L2_CAP_VIDEO_CAPTURE
	capVideoCaptureMplane = 0x0000_1000
	capVideoM2MMplane     = 0x0000_4000
	capVideoM2M           = 0x0000_8000
	capDeviceCaps         = 0x8000_0000

	bufVideoCapture       = 1 // V4L2_BUF_TYPE_VIDEO_CAPTURE
	bufVideoCaptureMplane = 9

	sizeDiscrete = 1 // V4L2_FRMSIZE_TYPE_DISCRETE, and V4L2_FRMIVAL_TYPE_DISCRETE

	cidExposureAuto     = 0x009a_0901 // V4L2_CID_EXPOSURE_AUTO
	cidExposureAbsolute = 0x009a_0902 // V4L2_CID_EXPOSURE_ABSOLUTE, 100 µs
	exposureManual      = 1           // V4L2_EXPOSURE_MANUAL
	exposureUnit        = 100 * time.Microsecond

	listMost = 256 // entries of a list; a driver that never ends it is broken
)

var (
	errBusy   = error(unix.EBUSY)
	errNoV4L2 = errors.New("it is no V4L2 device")
)

// v4l2 is an open node that is only asked and set, not read.
type v4l2 struct {
	fd   int
	kind uint32 // of buffers, for the lists; from capability
}

func openV4L2(node string) (*v4l2, error) {
	fd, err := unix.Open(node, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &v4l2{fd: fd, kind: bufVideoCapture}, nil
}

func (v *v4l2) close() { _ = unix.Close(v.fd) } // nothing was written

// v4l2Do is one ioctl. A signal may interrupt it.
func v4l2Do[T any](v *v4l2, request uint, arg *T) error {
	for {
		_, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(v.fd), uintptr(request), uintptr(unsafe.Pointer(arg)))
		runtime.KeepAlive(arg)
		if err == 0 {
			return nil
		}
		if err != unix.EINTR {
			return err
		}
	}
}

func (v *v4l2) capability() (c v4l2Capability, err error) {
	err = v4l2Do(v, vidiocQueryCap, &c)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return c, errNoV4L2
	}
	if c.caps()&capVideoCapture == 0 {
		v.kind = bufVideoCaptureMplane
	}
	return c, err
}

// caps are what this node can, of the device's several.
func (c *v4l2Capability) caps() uint32 {
	if c.Capabilities&capDeviceCaps != 0 {
		return c.DeviceCaps
	}
	return c.Capabilities
}

// captures tells a camera from metadata nodes, outputs and converters.
func (c *v4l2Capability) captures() bool {
	caps := c.caps()
	return caps&(capVideoCapture|capVideoCaptureMplane) != 0 && caps&(capVideoM2M|capVideoM2MMplane) == 0
}

// format is what the device is set to.
func (v *v4l2) format() (fourcc string, w, h int, err error) {
	f := v4l2Format{Type: v.kind}
	err = v4l2Do(v, vidiocGFmt, &f)
	return fourCCName(f.PixelFormat), int(f.Width), int(f.Height), err
}

// entries asks for entry after entry until the kernel says EINVAL.
func entries(ask func(index uint32) error) error {
	for i := range uint32(listMost) {
		if err := ask(i); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// formats are the FOURCCs that a device offers.
func (v *v4l2) formats() (all []string, err error) {
	err = entries(func(i uint32) error {
		f := v4l2FmtDesc{Index: i, Type: v.kind}
		err := v4l2Do(v, vidiocEnumFmt, &f)
		if err == nil {
			all = append(all, fourCCName(f.PixelFormat))
		}
		return err
	})
	return all, err
}

// sizes are what a device offers in a format; none if it doesn't tell.
func (v *v4l2) sizes(fourcc string) (all sizeList, err error) {
	err = entries(func(i uint32) error {
		s := v4l2FrameSize{Index: i, PixelFormat: fourCCCode(fourcc)}
		err := v4l2Do(v, vidiocEnumFrameSizes, &s)
		if err == nil {
			all = append(all, s)
		}
		return err
	})
	return all, err
}

// rates are what a device offers in a format and size; none if it doesn't tell.
func (v *v4l2) rates(fourcc string, w, h int) (all rateList, err error) {
	err = entries(func(i uint32) error {
		s := v4l2FrameInterval{Index: i, PixelFormat: fourCCCode(fourcc), Width: uint32(w), Height: uint32(h)}
		err := v4l2Do(v, vidiocEnumFrameIntervals, &s)
		if err == nil {
			all = append(all, s)
		}
		return err
	})
	return all, err
}

// offers tells formats with their sizes, one a line.
func (v *v4l2) offers() ([]string, error) {
	formats, err := v.formats()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range formats {
		sizes, err := v.sizes(f)
		if err != nil {
			return all, err
		}
		all = append(all, strings.TrimSpace(f+" "+sizes.String()))
	}
	return all, nil
}

// exposeNode sets the exposure of a device that somebody else reads.
func exposeNode(node string, d time.Duration) error {
	v, err := openV4L2(node)
	if err != nil {
		return fmt.Errorf("exposure: open the device once more: %w", err)
	}
	defer v.close()
	return v.setExposure(d)
}

// setExposure takes the exposure from the device's automatic and sets it.
func (v *v4l2) setExposure(d time.Duration) error {
	q := v4l2QueryCtrl{ID: cidExposureAbsolute}
	if err := v4l2Do(v, vidiocQueryCtrl, &q); err != nil {
		return fmt.Errorf("exposure: the device has no control exposure_absolute (%w)", err)
	}
	units := int64((d + exposureUnit/2) / exposureUnit)
	if units < int64(q.Minimum) || units > int64(q.Maximum) {
		return fmt.Errorf("exposure: %v is out of the device's range, %v to %v", d,
			time.Duration(q.Minimum)*exposureUnit, time.Duration(q.Maximum)*exposureUnit)
	}
	auto := v4l2Control{cidExposureAuto, exposureManual}
	if err := v4l2Do(v, vidiocSCtrl, &auto); err != nil && !errors.Is(err, unix.EINVAL) { // a device without automatic
		return fmt.Errorf("exposure: turn off the automatic: %w", err)
	}
	c := v4l2Control{cidExposureAbsolute, int32(units)}
	if err := v4l2Do(v, vidiocSCtrl, &c); err != nil {
		return fmt.Errorf("exposure: %w", err)
	}
	if err := v4l2Do(v, vidiocGCtrl, &c); err != nil {
		return fmt.Errorf("exposure: read it back: %w", err)
	}
	if got := time.Duration(c.Value) * exposureUnit; got != d {
		fmt.Fprintf(os.Stderr, "the camera takes an exposure of %v for %v\n", got, d) // the agent logs it
	}
	return nil
}

// sizeList are sizes as the kernel lists them.
type sizeList []v4l2FrameSize

func (l sizeList) has(w, h int) bool {
	for _, s := range l {
		if s.Type == sizeDiscrete && s.MinWidth == uint32(w) && s.MaxWidth == uint32(h) {
			return true
		}
		if s.Type != sizeDiscrete && within(w, s.MinWidth, s.MaxWidth, s.StepWidth) && within(h, s.MinHeight, s.MaxHeight, s.StepHeight) {
			return true
		}
	}
	return false
}

func within(v int, least, most, step uint32) bool {
	return v >= int(least) && v <= int(most) && (v-int(least))%int(max(step, 1)) == 0
}

func (l sizeList) String() string {
	var all []string
	for _, s := range l {
		one := fmt.Sprintf("%dx%d", s.MinWidth, s.MaxWidth) // discrete: width and height
		if s.Type != sizeDiscrete {
			one = fmt.Sprintf("%dx%d…%dx%d", s.MinWidth, s.MinHeight, s.MaxWidth, s.MaxHeight)
		}
		all = append(all, one)
	}
	return strings.Join(all, " ")
}

// rateList are intervals between frames as the kernel lists them.
type rateList []v4l2FrameInterval

// rateSlack is what a rate may differ by: 30 means 29.97 as well.
const rateSlack = 0.02

func (l rateList) has(rate float64) bool {
	for _, r := range l {
		fast := r.Min.rate()
		slow := fast
		if r.Type != sizeDiscrete {
			slow = r.Max.rate()
		}
		if rate <= fast*(1+rateSlack) && rate >= slow*(1-rateSlack) {
			return true
		}
	}
	return false
}

func (l rateList) String() string {
	var all []string
	for _, r := range l {
		one := fmt.Sprintf("%.4g", r.Min.rate())
		if r.Type != sizeDiscrete {
			one = fmt.Sprintf("%.4g…%.4g", r.Max.rate(), r.Min.rate())
		}
		all = append(all, one)
	}
	return strings.Join(all, " ")
}

// rate is in frames a second.
func (f v4l2Fraction) rate() float64 {
	if f.Numerator == 0 {
		return 0
	}
	return float64(f.Denominator) / float64(f.Numerator)
}

// fourCCCode is the kernel's number of a format as YUYV; short names end in spaces.
func fourCCCode(name string) uint32 {
	b := []byte(name + "    ")
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// fourCCName leaves out the spaces. Bit 31 marks big-endian formats.
func fourCCName(code uint32) string {
	name := strings.TrimRight(string([]byte{byte(code), byte(code >> 8), byte(code >> 16), byte(code>>24) & 0x7f}), " ")
	if code>>31 != 0 {
		name += "-BE"
	}
	return strings.ToValidUTF8(name, "?")
}

// cText is a string of the kernel's in a fixed space.
func cText(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.ToValidUTF8(string(b), "")
}

// stableNames are the links below dev/v4l/by-id by the node that they lead to.
// They stay with a camera wherever and in whichever order it is plugged in.
func stableNames(dir string) map[string]string {
	byNode := map[string]string{}
	links, _ := os.ReadDir(dir) // not there without a USB camera
	for _, l := range links {
		if to, err := os.Readlink(filepath.Join(dir, l.Name())); err == nil {
			byNode[filepath.Base(to)] = filepath.Join(dir, l.Name())
		}
	}
	return byNode
}

// formatOffered refuses a FOURCC that isn't on a device's list.
func formatOffered(formats []string, fourcc, offers string) error {
	if fourcc == "" || slices.Contains(formats, fourcc) || len(formats) == 0 {
		return nil
	}
	return fmt.Errorf("format %s: the device hasn't got it; %s", fourcc, offers)
}
