package infer

// Boxes reports whether the family's detections are boxes of things, so that
// average precision measures them.
func (f Family) Boxes() bool {
	switch f {
	case "classification", "anomaly":
		return false
	}
	return true
}

// Masks reports whether the family's detections have masks.
func (f Family) Masks() bool { return f == "yolov8-seg" || f.Maps() }

// Maps reports whether the family gives a score for each pixel, and from it
// regions; then every picture has a score, too.
func (f Family) Maps() bool { return f == "segmentation" || f == "anomaly" }
