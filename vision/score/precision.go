package score

// epsilon is NumPy's spacing(1), which cocoeval adds to the count of detections.
const epsilon = 1.0 / (1 << 52)

// figures are the class's twelve.
func (c *class) figures() Figures {
	f := Figures{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}
	ap := [sizes]*float64{&f.AP, &f.APSmall, &f.APMedium, &f.APLarge}
	ar := [sizes]*float64{&f.AR100, &f.ARSmall, &f.ARMedium, &f.ARLarge}
	for a := range sizes {
		if c.counts[a] == 0 {
			continue
		}
		precision, recall := c.curve(a)
		*ap[a], *ar[a] = mean(precision[:]), mean(recall[:])
		if a == 0 {
			f.AP50, f.AP75 = precision[0], precision[5]
			f.AR1, f.AR10 = c.recall(1), c.recall(10)
		}
	}
	return f
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// curve gives, for each IoU, the mean precision over the recalls and the recall
// of all detections. Precision only matters where a target is found: between,
// it falls, and the curve takes the highest to the right.
func (c *class) curve(a int) (precision, recall [iouSteps]float64) {
	var found [iouSteps][]float64 // the precision when the n-th target was found
	var wrong [iouSteps]int
	everyWrong := 0
	for i := range c.hits {
		right, neither := c.hits[i].right[a], c.hits[i].neither[a]
		if neither == everyIoU {
			continue
		}
		if right|neither == 0 {
			everyWrong++
			continue
		}
		for t := range iouSteps {
			switch bit := uint16(1) << t; {
			case neither&bit != 0:
			case right&bit == 0:
				wrong[t]++
			default:
				n, w := float64(len(found[t])+1), float64(wrong[t]+everyWrong)
				found[t] = append(found[t], n/(w+n+epsilon))
			}
		}
	}
	for t := range iouSteps {
		precision[t] = atRecalls(found[t], c.counts[a])
		recall[t] = float64(len(found[t])) / float64(c.counts[a])
	}
	return precision, recall
}

// atRecalls is the mean over the recalls 0, 0.01, … 1 of the highest precision
// at that recall or a higher one; 0 at recalls that weren't reached.
func atRecalls(precision []float64, targets int) float64 {
	for i := len(precision) - 1; i > 0; i-- {
		precision[i-1] = max(precision[i-1], precision[i])
	}
	sum, at := 0.0, 0
	for r := range recallSteps {
		want := spaced(0, 1, r, recallSteps)
		for at < len(precision) && float64(at+1)/float64(targets) < want {
			at++
		}
		if at == len(precision) {
			break
		}
		sum += precision[at]
	}
	return sum / recallSteps
}

// recall is the mean recall over the IoUs with at most so many detections a
// picture.
func (c *class) recall(most int32) float64 {
	n := 0
	for i := range c.hits {
		h := &c.hits[i]
		if h.rank >= most {
			continue
		}
		for bits := h.right[0] &^ h.neither[0]; bits != 0; bits &= bits - 1 {
			n++
		}
	}
	return float64(n) / float64(iouSteps*c.counts[0])
}

// sums make the means over classes; those without truth are left out.
type sums struct {
	total  Figures
	counts [12]int
}

// fields are the twelve in one order.
func (f *Figures) fields() [12]*float64 {
	return [12]*float64{&f.AP, &f.AP50, &f.AP75, &f.APSmall, &f.APMedium, &f.APLarge,
		&f.AR1, &f.AR10, &f.AR100, &f.ARSmall, &f.ARMedium, &f.ARLarge}
}

func (s *sums) add(f Figures) {
	total := s.total.fields()
	for i, v := range f.fields() {
		if *v >= 0 {
			*total[i] += *v
			s.counts[i]++
		}
	}
}

func (s *sums) mean() Figures {
	f := s.total
	for i, v := range f.fields() {
		if s.counts[i] == 0 {
			*v = -1
			continue
		}
		*v /= float64(s.counts[i])
	}
	return f
}
