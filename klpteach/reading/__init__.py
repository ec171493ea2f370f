"""Reading a recording: when modules were there, what became of each site, the sum behind its bytes, a verdict in words.

Nothing here runs a kernel or draws anything: a recording goes in, facts and sentences come out.
"""
