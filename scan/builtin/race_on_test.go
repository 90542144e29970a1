//go:build race

package builtin

// raceDetector: under it sync.Pool drops items at random.
const raceDetector = true
