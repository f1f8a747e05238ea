//go:build cgo && media && !gocv

package capture

import "errors"

// openDevice is called where the program with OpenCV isn't installed: see NeedsOpenCV.
func openDevice(order) (reader, opened, error) {
	return nil, opened{}, errors.New("a V4L2 device needs sightline-capture-opencv beside sightline-capture: install it with make setup and make build")
}
