package capture

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/videodev2.h of a 64-bit kernel gives, by the C compiler.
func TestV4L2Layout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("left out: the numbers are those of 64 bits")
	}
	for name, c := range map[string][2]uint{
		"VIDIOC_QUERYCAP":            {vidiocQueryCap, 0x80685600},
		"VIDIOC_ENUM_FMT":            {vidiocEnumFmt, 0xc0405602},
		"VIDIOC_G_FMT":               {vidiocGFmt, 0xc0d05604},
		"VIDIOC_G_CTRL":              {vidiocGCtrl, 0xc008561b},
		"VIDIOC_S_CTRL":              {vidiocSCtrl, 0xc008561c},
		"VIDIOC_QUERYCTRL":           {vidiocQueryCtrl, 0xc0445624},
		"VIDIOC_ENUM_FRAMESIZES":     {vidiocEnumFrameSizes, 0xc02c564a},
		"VIDIOC_ENUM_FRAMEINTERVALS": {vidiocEnumFrameIntervals, 0xc034564b},

		"v4l2_capability.bus_info":              {uint(unsafe.Offsetof(v4l2Capability{}.BusInfo)), 0x30},
		"v4l2_capability.device_caps":           {uint(unsafe.Offsetof(v4l2Capability{}.DeviceCaps)), 0x58},
		"v4l2_fmtdesc.pixelformat":              {uint(unsafe.Offsetof(v4l2FmtDesc{}.PixelFormat)), 0x2c},
		"v4l2_format.fmt.pix.width":             {uint(unsafe.Offsetof(v4l2Format{}.Width)), 8},
		"v4l2_format.fmt.pix.pixelformat":       {uint(unsafe.Offsetof(v4l2Format{}.PixelFormat)), 0x10},
		"v4l2_frmsizeenum.discrete.height":      {uint(unsafe.Offsetof(v4l2FrameSize{}.MaxWidth)), 0x10},
		"v4l2_frmsizeenum.stepwise.min_height":  {uint(unsafe.Offsetof(v4l2FrameSize{}.MinHeight)), 0x18},
		"v4l2_frmsizeenum.stepwise.step_height": {uint(unsafe.Offsetof(v4l2FrameSize{}.StepHeight)), 0x20},
		"v4l2_frmivalenum.discrete":             {uint(unsafe.Offsetof(v4l2FrameInterval{}.Min)), 0x14},
		"v4l2_frmivalenum.stepwise.max":         {uint(unsafe.Offsetof(v4l2FrameInterval{}.Max)), 0x1c},
		"v4l2_queryctrl.minimum":                {uint(unsafe.Offsetof(v4l2QueryCtrl{}.Minimum)), 0x28},
		"v4l2_queryctrl.maximum":                {uint(unsafe.Offsetof(v4l2QueryCtrl{}.Maximum)), 0x2c},

		"V4L2_PIX_FMT_YUYV":   {uint(fourCCCode("YUYV")), 0x56595559},
		"V4L2_PIX_FMT_Y16":    {uint(fourCCCode("Y16")), 0x20363159},
		"V4L2_CAP_M2M_MPLANE": {capVideoM2MMplane, 0x4000},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %#x, want %#x", name, c[0], c[1])
		}
	}
}

func TestFourCCName(t *testing.T) {
	for code, want := range map[uint32]string{0x56595559: "YUYV", 0x20363159: "Y16", 0xa0363159: "Y16-BE", 0x47504a4d: "MJPG", 0: "\x00\x00\x00\x00"} {
		if got := fourCCName(code); got != want {
			t.Errorf("%#x is %q, want %q", code, got, want)
		}
	}
}

// A camera, the metadata node of one, a JPEG converter and a display, as their
// drivers describe them.
func TestV4L2Captures(t *testing.T) {
	for _, c := range []struct {
		name string
		cap  v4l2Capability
		want bool
	}{
		{"uvcvideo 0", v4l2Capability{Capabilities: 0x84a00001, DeviceCaps: 0x04200001}, true},
		{"uvcvideo 1", v4l2Capability{Capabilities: 0x84a00001, DeviceCaps: 0x04a00000}, false},
		{"multiplanar sensor", v4l2Capability{Capabilities: 0x84201000, DeviceCaps: 0x04201000}, true},
		{"converter", v4l2Capability{Capabilities: 0x84208000, DeviceCaps: 0x04208000}, false},
		{"multiplanar converter", v4l2Capability{Capabilities: 0x84204000, DeviceCaps: 0x04204000}, false},
		{"output", v4l2Capability{Capabilities: 0x84200002, DeviceCaps: 0x04200002}, false},
		{"old driver", v4l2Capability{Capabilities: 0x05000001}, true},
	} {
		if got := c.cap.captures(); got != c.want {
			t.Errorf("%s: captures %v", c.name, got)
		}
	}
}

func TestV4L2Lists(t *testing.T) {
	sizes := sizeList{
		{Type: sizeDiscrete, MinWidth: 640, MaxWidth: 480}, {Type: sizeDiscrete, MinWidth: 1280, MaxWidth: 720},
		{Type: 3, MinWidth: 32, MaxWidth: 64, StepWidth: 8, MinHeight: 10, MaxHeight: 20, StepHeight: 5},
	}
	for size, want := range map[[2]int]bool{
		{640, 480}: true, {1280, 720}: true, {640, 720}: false, {480, 640}: false,
		{32, 10}: true, {40, 15}: true, {64, 20}: true, {36, 15}: false, {40, 16}: false, {72, 20}: false,
	} {
		if sizes.has(size[0], size[1]) != want {
			t.Errorf("%v: %v", size, !want)
		}
	}
	if s := sizes.String(); s != "640x480 1280x720 32x10…64x20" {
		t.Errorf("sizes %q", s)
	}
	rates := rateList{{Type: sizeDiscrete, Min: v4l2Fraction{1, 30}}, {Type: 2, Min: v4l2Fraction{1, 10}, Max: v4l2Fraction{1, 5}}}
	for rate, want := range map[float64]bool{30: true, 29.97: true, 25: false, 10: true, 7: true, 5: true, 4: false, 31: false} {
		if rates.has(rate) != want {
			t.Errorf("%v/s: %v", rate, !want)
		}
	}
	if s := rates.String(); s != "30 5…10" {
		t.Errorf("rates %q", s)
	}
	if (rateList{{Type: sizeDiscrete}}).has(30) {
		t.Error("an interval of 0 over 0 gives 30/s")
	}
	if err := formatOffered([]string{"MJPG", "YUYV"}, "GREY", "it offers MJPG, YUYV"); err == nil || err.Error() != "format GREY: the device hasn't got it; it offers MJPG, YUYV" {
		t.Errorf("GREY: %v", err)
	}
	if err := formatOffered([]string{"MJPG", "YUYV"}, "YUYV", ""); err != nil {
		t.Error(err)
	}
}

// notV4L2 are files that somebody may take for a camera's.
func notV4L2(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"file": write(t, dir, "file", []byte("no camera")), "pipe": filepath.Join(dir, "pipe")}
	if err := syscall.Mkfifo(files["pipe"], 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err == nil {
		t.Cleanup(func() { m.Close() })
		files["terminal"] = "/dev/ptmx"
	}
	return files
}

func TestNoV4L2Device(t *testing.T) {
	for name, file := range notV4L2(t) {
		v, err := openV4L2(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := v.capability(); err == nil || err.Error() != "it is no V4L2 device" {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, _, err := v.format(); err == nil {
			t.Errorf("%s has a format", name)
		}
		if offers, err := v.offers(); err != nil || offers != nil {
			t.Errorf("%s offers %q, %v", name, offers, err)
		}
		if rates, err := v.rates("YUYV", 640, 480); err != nil || rates != nil {
			t.Errorf("%s: %v, %v", name, rates, err)
		}
		if err := v.setExposure(time.Millisecond); err == nil || !strings.Contains(err.Error(), "exposure: the device has no control exposure_absolute") {
			t.Errorf("%s: %v", name, err)
		}
		v.close()
		if err := exposeNode(file, time.Millisecond); err == nil || !strings.Contains(err.Error(), "exposure: the device has no control exposure_absolute") {
			t.Errorf("%s, beside its reader: %v", name, err)
		}
		if HaveOpenCV {
			if _, _, err := OpenAll(t.Context(), order{Kind: device, At: file}); err == nil || err.Error() != "it is no V4L2 device" {
				t.Errorf("open the %s: %v", name, err)
			}
		}
	}
}

func TestV4L2ExposureOfADeviceThatIsGone(t *testing.T) {
	const want = "exposure: open the device once more: no such file or directory"
	if err := exposeNode(filepath.Join(t.TempDir(), "video7"), time.Millisecond); err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestV4L2Source(t *testing.T) {
	for _, s := range []string{"/dev/video7", "/dev/v4l/by-id/usb-046d_C920-video-index0", "/dev/v4l/by-path/x"} {
		if src, err := parseSource(s); err != nil || src.kind != device || src.at != s {
			t.Errorf("%s: %+v, %v", s, src, err)
		}
	}
	needMedia(t)
	want := "no such file"
	if !HaveOpenCV {
		want = "needs sightline-capture-opencv beside"
	}
	r := start(t, config("/dev/v4l/by-id/none"))
	eventually(t, 10*time.Second, "the reason", func() bool { return strings.Contains(r.Stats().LastError, want) })
}

func TestV4L2Problems(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{unix.EACCES, "no permission: add the user to the group video"},
		{unix.EPERM, "no permission: add the user to the group video"},
		{unix.EBUSY, "used by another program"},
		{unix.ENOENT, "the kernel knows it, but it has no device file: is it passed on to this container?"},
		{unix.ENODEV, "no such device"},
	} {
		if got := problemOf(c.err); got != c.want {
			t.Errorf("%v: %q", c.err, got)
		}
	}
}
