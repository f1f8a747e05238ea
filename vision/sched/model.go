package sched

// Model is what runs on the accelerator, with what its runs have taken of late.
type Model struct {
	name string
}
