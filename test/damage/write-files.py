# Files of pyarrow or polars with the rows of `sample-rows.ts`, in every codec and encoding that each writes.
# python write-files.py pyarrow|polars <folder>, and says how many as JSON.
import hashlib
import json
import pathlib
import sys

ROWS = 6000
GROUP = 2000


def rows():
    columns = {name: [] for name in 'indfbsrtzx'}
    for i in range(ROWS):
        columns['i'].append(i * 7919)
        columns['n'].append(i % 13)
        columns['d'].append(i * 0.25)
        columns['f'].append((i % 1000) * 0.5)
        columns['b'].append(i % 3 == 0)
        columns['s'].append(f'text {i * 2654435761 % 4294967296}')
        columns['r'].append(f'value {i % 5}')
        columns['t'].append(1_700_000_000_000_000 + i * 1_000_000)
        columns['z'].append(None if i % 4 == 0 else i)
        columns['x'].append(hashlib.md5(str(i).encode()).digest())
    return columns


def write_pyarrow(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = [pa.int64(), pa.int32(), pa.float64(), pa.float32(), pa.bool_(), pa.string(), pa.string()]
    types += [pa.timestamp('us'), pa.int64(), pa.binary(16)]
    columns = rows()
    schema = pa.schema([pa.field(name, kind) for name, kind in zip(columns, types)])
    table = pa.Table.from_pydict(columns, schema=schema)

    def write(name, **options):
        where = folder / f'pyarrow {name}.parquet'
        pq.write_table(table, where, row_group_size=GROUP, data_page_size=4096, write_page_index=True, **options)

    for codec in ['none', 'snappy', 'gzip', 'zstd', 'lz4', 'brotli']:
        for version in ['1.0', '2.0']:
            for dictionary in [True, False]:
                name = f'{codec} v{version[0]} {"dictionary" if dictionary else "plain"}'
                write(name, compression=codec, data_page_version=version, use_dictionary=dictionary)
    # Of integers and fixed bytes DuckDB reads no BYTE_STREAM_SPLIT.
    kinds = {
        'PLAIN': {'b': 'PLAIN', 'd': 'PLAIN', 'f': 'PLAIN', 's': 'PLAIN', 'r': 'PLAIN', 'x': 'PLAIN'},
        'DELTA': {'s': 'DELTA_BYTE_ARRAY', 'r': 'DELTA_BYTE_ARRAY', 'x': 'DELTA_BYTE_ARRAY'},
        'DELTA_LENGTH': {'s': 'DELTA_LENGTH_BYTE_ARRAY', 'r': 'DELTA_LENGTH_BYTE_ARRAY', 'x': 'PLAIN'},
    }
    for kind, others in kinds.items():
        number = 'PLAIN' if kind == 'PLAIN' else 'DELTA_BINARY_PACKED'
        real = {'b': 'RLE', 'd': 'BYTE_STREAM_SPLIT', 'f': 'BYTE_STREAM_SPLIT'}
        encoding = {name: number for name in 'intz'} | real | others
        for codec in ['none', 'zstd']:
            for version in ['1.0', '2.0']:
                options = dict(compression=codec, data_page_version=version, use_dictionary=False)
                write(f'{codec} v{version[0]} {kind}', column_encoding=encoding, **options)
    write('none int96', compression='none', use_deprecated_int96_timestamps=True)
    write('none page checksums', compression='none', write_page_checksum=True)


def write_polars(folder):
    import polars as pl

    columns = rows()
    kinds = [pl.Int64, pl.Int32, pl.Float64, pl.Float32, pl.Boolean, pl.String, pl.String, pl.Int64, pl.Int64, pl.Binary]
    frame = pl.DataFrame(columns, schema=dict(zip(columns, kinds))).with_columns(pl.col('t').cast(pl.Datetime('us')))
    for codec in ['uncompressed', 'snappy', 'gzip', 'zstd', 'lz4', 'brotli']:
        where = folder / f'polars {codec}.parquet'
        frame.write_parquet(where, compression=codec, row_group_size=GROUP, data_page_size=4096)


folder = pathlib.Path(sys.argv[2])
{'pyarrow': write_pyarrow, 'polars': write_polars}[sys.argv[1]](folder)
print(json.dumps(len(list(folder.glob(f'{sys.argv[1]} *.parquet')))))
