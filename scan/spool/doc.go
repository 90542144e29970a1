// Package spool keeps bodies while they are judged: in memory up to a mark,
// then in a file that is unlinked as soon as it is open, hashed on the way in,
// all against one budget of memory and one of disk.
//
// It must not know what a body means, who sent it or what is done with it.
package spool
