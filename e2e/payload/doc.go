// Package payload makes the bodies that are sent through the gate: streams of
// any size that cost no memory, forms, and infected bodies whose every line a
// tap recognises. It must not know how a body is sent.
package payload
