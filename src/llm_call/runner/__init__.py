"""Files of cases in, an honest verdict out.

The order: tolerant_json, case, dataset (a file becomes entries), selection, run (entries become results), report
(lines on standard output, the results file). Nothing here knows of a command line.
"""
