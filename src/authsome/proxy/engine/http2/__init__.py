"""HTTP/2 on both legs (RFC 9113): streams are joined frame by frame, only their heads are read and written anew."""
