// Package image holds the container image to its promises without a container:
// it is built twice, unpacked and run. It has tests only, and must not know how
// the image is made.
package image
