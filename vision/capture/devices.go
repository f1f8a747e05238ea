package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Device is a camera that is plugged in, or answers in the network.
type Device struct {
	Source  string   `json:"source"` // what to write as source
	Name    string   `json:"name"`   // vendor and model
	Driver  string   `json:"driver"` // of the kernel, or the protocol
	Bus     string   `json:"bus"`    // where it is plugged in, or its address
	Serial  string   `json:"serial,omitempty"`
	Formats []string `json:"formats,omitempty"` // V4L2: FOURCC with its sizes; GenICam: not told, a look would take control
	Problem string   `json:"problem,omitempty"` // why it can't be read now, and what to do
}

// V4L2Devices lists the cameras among the kernel's video devices: what sysfs
// tells (root is /sys), and what the nodes below dev (/dev) answer. Nodes for
// metadata, encoders and the like are left out. It sets nothing.
func V4L2Devices(root fs.FS, dev string) []Device {
	names, _ := fs.ReadDir(root, "class/video4linux") // none on most machines
	slices.SortFunc(names, func(a, b fs.DirEntry) int { return nodeNumber(a.Name()) - nodeNumber(b.Name()) })
	byID := stableNames(path.Join(dev, "v4l/by-id"))
	var all []Device
	for _, n := range names {
		if nodeNumber(n.Name()) < 0 {
			continue // v4l-subdev, vbi, radio, swradio, v4l-touch
		}
		d, camera := v4l2Node(root, n.Name(), path.Join(dev, n.Name()))
		if !camera {
			continue
		}
		if stable := byID[n.Name()]; stable != "" {
			d.Source = stable
		}
		all = append(all, d)
	}
	return all
}

// nodeNumber is the 3 of video3, or -1.
func nodeNumber(name string) int {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, "video"), 10, 16)
	if err != nil || !strings.HasPrefix(name, "video") {
		return -1
	}
	return int(n)
}

// v4l2Node describes one node and tells whether it is a camera.
func v4l2Node(root fs.FS, name, node string) (d Device, camera bool) {
	at := path.Join("class/video4linux", name)
	d = Device{Source: node, Name: sysLine(root, at+"/name"), Serial: usbSerial(root, at)}
	for _, l := range strings.Split(sysLine(root, at+"/device/uevent"), "\n") {
		if driver, ok := strings.CutPrefix(l, "DRIVER="); ok {
			d.Driver = driver
		}
	}
	v, err := openV4L2(node)
	if err != nil {
		d.Problem = problemOf(err)
		// A second node of a USB camera is for its metadata.
		index := sysLine(root, at+"/index")
		return d, d.Driver != "uvcvideo" || index == "0" || index == ""
	}
	defer v.close()
	c, err := v.capability()
	if err != nil {
		d.Problem = err.Error()
		return d, true
	}
	d.Driver, d.Bus = cText(c.Driver[:]), cText(c.BusInfo[:])
	if card := cText(c.Card[:]); card != "" {
		d.Name = card
	}
	if !c.captures() {
		return d, false
	}
	d.Formats, err = v.offers()
	if err != nil {
		d.Problem = problemOf(err)
	}
	return d, true
}

// problemOf says what to do about a node that can't be used.
func problemOf(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "no permission: add the user to the group video"
	case errors.Is(err, errBusy):
		return "used by another program"
	case errors.Is(err, fs.ErrNotExist):
		return "the kernel knows it, but it has no device file: is it passed on to this container?"
	}
	return bare(err).Error()
}

// sysLine reads a file of sysfs, without the end of its last line.
func sysLine(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 4096)) // part of it is better than nothing
	return strings.TrimSpace(strings.ToValidUTF8(string(b), ""))
}

// usbSerial is the serial number of the USB device to which a node's interface,
// as 1-2:1.0, belongs.
func usbSerial(root fs.FS, at string) string {
	to, err := fs.ReadLink(root, at+"/device")
	if err != nil {
		return ""
	}
	port, _, ok := strings.Cut(path.Base(to), ":")
	if !ok || !fs.ValidPath(port) {
		return ""
	}
	return sysLine(root, "bus/usb/devices/"+port+"/serial")
}

// GenICamDevices lists the GigE Vision and USB3 Vision cameras that answer, by
// running sightline-capture. It takes one to three seconds.
func GenICamDevices(ctx context.Context, captureBinary string) ([]Device, error) {
	ctx, cancel := context.WithTimeout(ctx, genICamMost+time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, captureBinary, "devices")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &said, time.Second
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(strings.ToValidUTF8(said.String(), "")); text != "" {
			err = errors.New(strings.TrimPrefix(text, "sightline-capture: "))
		}
		return nil, fmt.Errorf("list industrial cameras: %w", err)
	}
	var all []Device
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		return nil, fmt.Errorf("list industrial cameras: what %s prints: %w", captureBinary, err)
	}
	return all, nil
}

// genICamMost bounds the look for industrial cameras.
const genICamMost = 3 * time.Second

// bounded gives up on a look that a driver holds up.
func bounded(ctx context.Context, look func() []Device) ([]Device, error) {
	found := make(chan []Device, 1)
	go func() { found <- look() }()
	select {
	case all := <-found:
		return all, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(genICamMost):
		return nil, fmt.Errorf("the look for industrial cameras isn't over after %v: a network or USB driver holds it up", genICamMost)
	}
}

// controlled tells whether a program has control of the GigE Vision camera at that
// address: it reads the register of control (GVCP READREG), which needs none.
func controlled(address string) (bool, error) {
	const readRegister, acknowledged = 0x0080, 0x0081
	conn, err := net.DialTimeout("udp4", net.JoinHostPort(address, "3956"), time.Second)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ask := binary.BigEndian.AppendUint16([]byte{0x42, 0x01}, readRegister) // a command that wants an answer
	ask = binary.BigEndian.AppendUint16(ask, 4)                            // bytes that follow
	ask = binary.BigEndian.AppendUint16(ask, 1)                            // number of the request
	ask = binary.BigEndian.AppendUint32(ask, privilegeRegister)
	if _, err := conn.Write(ask); err != nil {
		return false, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return false, err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	switch {
	case err != nil:
		return false, err
	case n < 12 || binary.BigEndian.Uint16(answer) != 0 || binary.BigEndian.Uint16(answer[2:]) != acknowledged:
		return false, errors.New("no answer that can be read")
	}
	return binary.BigEndian.Uint32(answer[8:])&privilegeBits != 0, nil
}

// Where a GigE Vision camera tells who has control of it.
const (
	privilegeRegister = 0x0a00
	privilegeBits     = 3 // exclusive access, or control
)
